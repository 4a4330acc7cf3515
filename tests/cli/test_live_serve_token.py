"""``camrt live --serve``: the token, its cookie and its form."""

from urllib.parse import quote, urlsplit

import pytest

from support.serving import exchange, open_with_token, serving

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
def everywhere():
    with serving(bind="0.0.0.0:0") as served:
        yield served


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
