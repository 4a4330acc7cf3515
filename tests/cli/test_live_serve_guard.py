"""``camrt live --serve``: token, host names, requests across sites, limits, encryption."""

import socket
import subprocess
import time
from contextlib import suppress
from itertools import islice
from pathlib import Path

import pytest

from support.command import interrupt, refusal
from support.desktop import eventually
from support.serving import DEMO, exchange, jpegs, open_with_token, serving

pytestmark = pytest.mark.process

JSON = {"Content_Type": "application/json"}


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
