"""``camrt live --serve``: token, host names, requests across sites, limits, encryption."""

import socket
import subprocess
import time
from contextlib import suppress
from itertools import islice
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from support.command import interrupt, refusal
from support.desktop import eventually
from support.serving import DEMO, jpegs, serving

pytestmark = pytest.mark.process

JSON = {"Content_Type": "application/json"}
PAGE = ("/", "/live.js", "/overlay.js", "/style.css", "/api", "/api.js", "/icon.svg", "/openapi.json")
API = (
    "/api/state",
    "/api/result",
    "/api/labels",
    "/api/snapshot.jpg",
    "/api/map.npy",
    "/api/settings",
    "/stream",
    "/events",
    "/metrics",
)


@pytest.fixture(scope="module")
def local():
    with serving() as served:
        yield served


@pytest.fixture(scope="module")
def everywhere():
    with serving(bind="0.0.0.0:0") as served:
        yield served


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificate")
    files = ["-keyout", "key.pem", "-out", "cert.pem"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=camrt", *files]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


def open_with_token(served, path="/", **headers):
    """Open a path with the token; returns (response, cookie)."""
    separator = "&" if "?" in path else "?"
    response, _ = served.request(f"{path}{separator}token={served.token}", **headers)
    return response, (response.headers["Set-Cookie"] or "").partition(";")[0]


def exchange(served, data, *, wait_s=20):
    """Send bytes; returns everything that the server sends until it closes the connection."""
    received = b""
    with served.socket() as connection:
        connection.settimeout(wait_s)
        with suppress(ConnectionError):
            connection.sendall(data)
            while block := connection.recv(65536):
                received += block
    return received


def test_without_a_host_it_listens_on_the_loopback_interface_only(local):
    assert local.url == f"http://127.0.0.1:{local.port}/"
    with pytest.raises(OSError, match=r"refused|unreachable|timed out"):
        socket.create_connection((own_address(), local.port), timeout=2)


def own_address():
    """Return an address of this machine other than that of the loopback interface; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no other interface")
        return probe.getsockname()[0]


@pytest.mark.parametrize("path", [*PAGE, *API])
def test_every_path_needs_the_token(everywhere, path):
    guesses = (
        {},
        {"Authorization": "Bearer "},
        {"Authorization": f"Bearer {everywhere.token[:-1]}"},
        {"Authorization": f"Basic {everywhere.token}"},
        {"Cookie": f"camrt-{everywhere.port}=guess"},
        {"Cookie": f"other={everywhere.token}"},
    )
    for headers in guesses:
        response, body = everywhere.request(path, **headers)
        assert (response.status, response.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert body == b"A token is missing. Open the address that camrt printed when it started.\n"
    assert everywhere.request(f"{path}?token={everywhere.token[:-1]}")[0].status == 401


def test_the_token_is_long_and_new_at_each_start(everywhere):
    with serving(bind="0.0.0.0:0") as other:
        assert len(everywhere.token) == len(other.token) == 32
        assert everywhere.token != other.token


def test_the_token_becomes_a_cookie_and_leaves_the_address(everywhere):
    response, cookie = open_with_token(everywhere, "/api/result?camera=0")
    assert (response.status, response.headers["Location"]) == (303, "/api/result?camera=0")
    attributes = {part.strip() for part in response.headers["Set-Cookie"].split(";")[1:]}
    assert attributes == {"Path=/", "HttpOnly", "SameSite=Strict"}
    assert cookie.startswith(f"camrt-{everywhere.port}=")  # a browser shares cookies between all ports of a host
    assert everywhere.request("/api/state", Cookie=cookie)[0].status == 200
    assert everywhere.request("/api/state", Cookie=f"a=b; {cookie}")[0].status == 200
    assert everywhere.request("/api/state", Authorization=f"Bearer {everywhere.token}")[0].status == 200


@pytest.mark.parametrize(
    "others",
    ['theme={"dark": true, "font": [1, 2]}', "novalue", "=", "a b=c d; ;;", 'q="unclosed', "ü=ö", "a=b=c; $Version=1"],
)
def test_cookies_of_other_programs_do_not_matter(everywhere, others):
    cookie = f"camrt-{everywhere.port}={everywhere.token}"
    for header in (f"{others}; {cookie}", f"{cookie}; {others}", f"{others};{cookie}"):
        assert everywhere.request("/api/state", Cookie=header.encode("latin-1"))[0].status == 200
    assert everywhere.request("/api/state", Cookie=others.encode("latin-1"))[0].status == 401


def test_a_token_in_the_address_is_removed_on_every_visit(everywhere):
    cookie = f"camrt-{everywhere.port}={everywhere.token}"
    for token in (everywhere.token, "an older one"):
        response, _ = everywhere.request(f"/?camera=1&token={quote(token)}&x=token", Cookie=cookie)
        assert (response.status, response.headers["Location"]) == (303, "/?camera=1&x=token")
    assert everywhere.request("/?xtoken=1", Cookie=cookie)[0].status == 200  # not that key, so no redirect without end


def test_a_browser_without_the_token_gets_a_form(everywhere):
    html = {"Accept": "text/html,*/*;q=0.8"}
    response, body = everywhere.request("/api", **html)
    assert (response.status, response.headers["Content-Type"]) == (401, "text/html; charset=utf-8")
    assert b'<form method="post" action="/login">' in body
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    for wrong in (b"", b"token=", b"token=guess", b"\xff\x00", b"token=%ff"):
        response, body = everywhere.request("/login", "POST", wrong, **form)
        assert (response.status, b"another token" in body) == (401, True)
    response, _ = everywhere.request("/login", "POST", f"token={everywhere.token}".encode(), **form)
    assert (response.status, response.headers["Location"]) == (303, "/")
    cookie = response.headers["Set-Cookie"].partition(";")[0]
    assert everywhere.request("/api/state", Cookie=cookie)[0].status == 200
    response, _ = everywhere.request(
        "/login", "POST", f"token={everywhere.token}".encode(), Origin="http://evil", **form
    )
    assert response.status == 403


def test_the_redirect_after_the_token_stays_on_this_host(everywhere):
    for path in ("//elsewhere.example/", "/%2f%2felsewhere.example/", "/\\elsewhere.example"):
        response, _ = open_with_token(everywhere, path)
        assert response.status == 303
        assert urlsplit(response.headers["Location"]).netloc == ""
        assert not response.headers["Location"].startswith(("//", "/\\"))


def test_after_a_link_on_another_site_a_page_redirects(everywhere):
    """A browser withholds a strict cookie from the redirects of a navigation that began on another site."""
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    response, cookie = open_with_token(everywhere, '/?camera=0&x="><script>', **link)
    assert response.status == 200
    assert cookie
    _, body = everywhere.request(f"/?x=%22><script>&token={everywhere.token}", **link)
    assert b'content="0;url=/?x=%22%3E%3Cscript%3E"' in body
    assert everywhere.token.encode() not in body


def test_a_token_in_the_address_is_accepted_for_safe_methods_only(everywhere):
    response, _ = everywhere.request(f"/api/settings?token={everywhere.token}", "PATCH", b"{}", **JSON)
    assert response.status == 401


def test_the_health_check_needs_no_token(everywhere):
    response, body = everywhere.request("/healthz")
    assert (response.status, body) == (200, b'{"status":"ok"}')
    response, body = everywhere.request("/healthz", "HEAD")
    assert (response.status, body) == (200, b"")


def test_no_auth_requires_no_token_and_warns():
    with serving("--no-auth", bind="0.0.0.0:0") as served:
        assert served.token == ""
        assert served.request("/api/state")[0].status == 200
    assert "warning: no authentication. Anyone who can reach this address can watch" in served.output


def test_requests_and_the_token_are_never_logged(everywhere):
    with serving(bind="0.0.0.0:0") as served:
        open_with_token(served)
        served.request("/?token=wrong")
        exchange(served, b"nonsense\r\n\r\n")
        served.process.terminate()
        out, errors = served.process.communicate(timeout=120)
    assert served.token not in out + errors
    assert "wrong" not in out + errors


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil.example", "", "["]
)
def test_an_unknown_host_name_is_refused(local, host):
    for path in ("/", "/api/state", "/stream", "/healthz"):
        assert local.request(path, Host=host)[0].status in (400, 421)


def test_its_own_names_and_ip_addresses_are_accepted(local, everywhere):
    own = socket.gethostname().lower()
    for host in (
        "localhost",
        "LOCALHOST:1",
        "127.0.0.1",
        "[::1]",
        f"127.0.0.1:{local.port}",
        own,
        f"{own}.local",
        "192.168.1.7:8080",
    ):
        assert local.request("/healthz", Host=host)[0].status == 200, host
    assert own in everywhere.url


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://127.0.0.1.evil.example", "http://["]
)
def test_requests_from_pages_of_other_sites_are_refused(local, origin):
    for method, path in (
        ("PATCH", "/api/settings"),
        ("POST", "/api/settings"),
        ("GET", "/stream"),
        ("GET", "/api/state"),
    ):
        assert local.request(path, method, b"{}" if method != "GET" else None, Origin=origin, **JSON)[0].status == 403
    assert local.request("/api/settings", "PATCH", b"{}", Sec_Fetch_Site="cross-site", **JSON)[0].status == 403
    own = {"Origin": f"http://127.0.0.1:{local.port}", "Sec_Fetch_Site": "same-origin"}
    assert local.request("/api/settings", "PATCH", b"{}", **own, **JSON)[0].status == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_from_other_sites_only_links_are_accepted(local, site):
    for path in ("/", "/live.js", "/api/state", "/api/snapshot.jpg", "/stream"):
        for mode in ("no-cors", "cors", "same-origin"):
            assert local.request(path, Sec_Fetch_Site=site, Sec_Fetch_Mode=mode)[0].status == 403, (path, mode)
    assert local.request("/", Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate")[0].status == 200
    form = {"Sec_Fetch_Site": site, "Sec_Fetch_Mode": "navigate"}
    assert local.request("/api/settings", "PATCH", b"{}", **form, **JSON)[0].status == 403
    assert (
        local.request("/", Sec_Fetch_Site="none", Sec_Fetch_Mode="navigate")[0].status == 200
    )  # the user types the address


def test_settings_can_be_changed_behind_a_proxy_with_another_name(local):
    """The browser compares its address with that of the page; the proxy sends a known name as Host."""
    own = {"Origin": "https://cam.example", "Sec_Fetch_Site": "same-origin", "Sec_Fetch_Mode": "cors"}
    assert local.request("/api/settings", "PATCH", b"{}", **own, **JSON)[0].status == 200
    assert local.request("/api/settings", "PATCH", b"{}", Host="cam.example", **own, **JSON)[0].status == 421


@pytest.mark.parametrize(
    "path", ["/", "/api", "/live.js", "/api/state", "/api/snapshot.jpg", "/nowhere", "/stream", "/metrics"]
)
def test_every_response_has_the_security_headers(local, path):
    connection = local.connect()
    connection.request("GET", path)
    headers = connection.getresponse().headers
    connection.close()
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert (policy["default-src"], policy["script-src"], policy["frame-ancestors"]) == ("'none'", "'self'", "'none'")
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in headers
    assert "Server" not in headers


def test_a_body_that_is_too_large_is_refused(local):
    assert local.request("/api/settings", "PATCH", b" " * 20_000 + b"{}", **JSON)[0].status == 413
    head = b"PATCH /api/settings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    chunks = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
    endless = exchange(local, head + b"Transfer-Encoding: chunked\r\n\r\n" + 50 * chunks)
    assert endless.startswith(b"HTTP/1.1 413") or not endless  # or the rest of the body met a closed connection
    assert local.request("/api/settings", "PATCH", b"{}", **JSON)[0].status == 200


def test_a_head_that_is_too_large_is_refused(local):
    received = exchange(local, b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: " + b"y" * 100_000)
    assert received.startswith(b"HTTP/1.1 400") or not received
    assert local.request("/healthz")[0].status == 200


def test_data_that_is_not_http_gets_one_response_and_no_traceback():
    head = b"GET %s HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    bad_chunk = b"ZZZZ\r\n"
    with serving() as served:
        for path, status in ((b"/nothing", b"404"), (b"/stream", b"200")):
            received = exchange(served, head % path + bad_chunk)
            assert received.startswith(b"HTTP/1.1 400 ")
            assert received.count(b"HTTP/1.1") == 1
            with served.socket() as connection, suppress(ConnectionResetError):
                connection.sendall(head % path)
                assert connection.recv(65536).startswith(b"HTTP/1.1 " + status)
                connection.sendall(bad_chunk)
                while block := connection.recv(65536):
                    assert b"HTTP/1.1" not in block
        received = exchange(served, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nnonsense\r\n\r\n")
        assert received.startswith(b"HTTP/1.1 200 ")
        assert b"HTTP/1.1 400 " in received
        interrupt(served.process)


@pytest.mark.slow
def test_requests_that_trickle_in_are_cut_off(local):
    """Each connection sends a byte now and then, and no request is ever complete."""
    starts = [
        b"",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\nX: ",
        b"PATCH /api/settings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{",
    ]
    connections = [local.socket() for _ in starts]
    for connection, start in zip(connections, starts, strict=True):
        connection.sendall(start)
    remaining = set(connections)
    end = time.monotonic() + 60
    while remaining and time.monotonic() < end:
        time.sleep(0.5)
        for connection in list(remaining):
            connection.settimeout(0.1)
            try:
                if connection is not connections[0]:
                    connection.sendall(b"y")
                while connection.recv(65536):
                    pass
                remaining.remove(connection)
            except TimeoutError:
                pass
            except ConnectionError:
                remaining.remove(connection)
    for connection in connections:
        connection.close()
    assert not remaining


def test_silent_connections_keep_others_out_only_until_they_close(local):
    silent = [local.socket() for _ in range(140)]
    assert eventually(lambda: local.request("/healthz")[0].status == 503)
    for connection in silent:
        connection.close()
    assert eventually(lambda: local.request("/healthz")[0].status == 200)


@pytest.mark.parametrize("encrypted", [False, True])
def test_the_number_of_accepted_connections_is_limited(certificate, encrypted):
    """Each takes a file descriptor from the recorder. With TLS all of these are in their handshakes."""
    flags = ("--certfile", certificate[0], "--keyfile", certificate[1]) if encrypted else ()
    with serving(*flags) as served:
        files = Path(f"/proc/{served.process.pid}/fd")
        before = len(list(files.iterdir()))
        connections = [served.socket() for _ in range(300)]
        assert eventually(lambda: sum(is_closed(connection) for connection in connections) == 140)
        assert len(list(files.iterdir())) - before <= 165
        for connection in connections:
            connection.close()
        assert eventually(lambda: responds(served))
        _, errors = interrupt(served.process)
    assert "socket" not in errors


def responds(served):
    try:
        return served.request("/healthz")[0].status == 200
    except ConnectionError:  # closed at once: the server has not noticed yet that the others have left
        return False


def is_closed(connection):
    """Return whether the server has closed a connection on which nothing was sent."""
    connection.setblocking(False)
    try:
        return not connection.recv(1)
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_with_a_certificate_every_connection_is_encrypted(certificate):
    cert, key = certificate
    with serving("--certfile", cert, "--keyfile", key, bind="0.0.0.0:0") as served:
        assert served.url.startswith("https://")
        response, cookie = open_with_token(served)
        assert "Secure" in response.headers["Set-Cookie"]
        connection = served.connect()
        connection.request("GET", "/stream", headers={"Cookie": cookie})
        assert len(list(islice(jpegs(connection.getresponse()), 3))) == 3
        connection.close()
        assert b"HTTP/1.1 200" not in exchange(served, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert "encrypted" not in served.output


def test_a_key_with_a_password_is_refused_without_a_prompt(certificate, tmp_path):
    cert, key = certificate
    command = ["openssl", "rsa", "-aes256", "-passout", "pass:secret", "-in", key, "-out", tmp_path / "locked.pem"]
    subprocess.run(command, check=True, capture_output=True)
    flags = ["--serve", "0", "--certfile", cert, "--keyfile", tmp_path / "locked.pem"]
    assert "not a certificate with its key" in refusal("live", DEMO, "--source", "synthetic", *flags, status=2)
