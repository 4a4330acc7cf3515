"""Authentication, redirects and encryption as cameras use them; no credentials reach another host or a message."""

import base64
import hashlib
import re
import socket
import ssl
import subprocess

import pytest

from camrt.errors import SourceError
from camrt.runtime.sources import open_source
from camrt.runtime.sources.network.http_client import HttpClient
from camrt.runtime.sources.network.url import redact
from camrt.runtime.sources.options import SourceOptions
from support.picture_server import answer, picture, serving

USER, PASSWORD = "admin", 'p@ss "word" ü#1'
ENCODED = "p%40ss%20%22word%22%20%C3%BC%231"
REALM, NONCE = 'Camera "7"', "dcd98b7102dd2f0e8b11d0f600bfb0c093"


def fields_of(request):
    """Return the scheme of the header ``Authorization``, and its parameters."""
    match = re.search(r"(?m)^Authorization: (\w+) (.*?)\r?$", request)
    if match is None:
        return None, {}
    pairs = re.findall(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|([^,]*))', match[2])
    return match[1], {key: re.sub(r"\\(.)", r"\1", quoted) or plain for key, quoted, plain in pairs} | {"": match[2]}


def is_digest(request, hash_name, *, qop, session=False):
    """Check the response of RFC 7616, section 3.4.1."""
    scheme, given = fields_of(request)
    if scheme != "Digest":
        return False

    def hashed(text):
        return hashlib.new(hash_name, text.encode()).hexdigest()

    a1 = hashed(f"{USER}:{REALM}:{PASSWORD}")
    if session:
        a1 = hashed(f"{a1}:{NONCE}:{given['cnonce']}")
    a2 = hashed(f"GET:{request.split()[1]}")
    middle = f"{NONCE}:{given['nc']}:{given['cnonce']}:auth" if qop else NONCE
    assert (given["username"], given["realm"], given["nonce"]) == (USER, REALM, NONCE)
    assert given["uri"] == request.split()[1]
    assert given.get("qop") == ("auth" if qop else None)
    return given["response"] == hashed(f"{a1}:{middle}:{a2}")


def is_basic(request):
    return fields_of(request)[1].get("") == base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


DIGEST = r'Digest realm="Camera \"7\"", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"'
CHALLENGES = {
    "Basic": (['Basic realm="cam"'], is_basic),
    "Digest of RFC 2069": ([DIGEST], lambda request: is_digest(request, "md5", qop=False)),
    "Digest": ([f'{DIGEST}, qop="auth"'], lambda request: is_digest(request, "md5", qop=True)),
    "Digest, several qop": ([f'{DIGEST}, qop="auth-int, auth"'], lambda request: is_digest(request, "md5", qop=True)),
    "Digest, unquoted": (
        [DIGEST + ", algorithm=MD5, qop=auth,stale=FALSE"],
        lambda request: is_digest(request, "md5", qop=True),
    ),
    "Digest, session": (
        [f'{DIGEST}, algorithm=MD5-sess, qop="auth"'],
        lambda request: is_digest(request, "md5", qop=True, session=True),
    ),
    "SHA-256": (
        [f'{DIGEST}, algorithm=SHA-256, qop="auth"'],
        lambda request: is_digest(request, "sha256", qop=True),
    ),
    "an unknown hash first": (
        [f"{DIGEST}, algorithm=NEW-1, qop=auth", f"{DIGEST}, algorithm=MD5, qop=auth"],
        lambda request: is_digest(request, "md5", qop=True),
    ),
    "Basic before Digest": (
        ['Basic realm="cam"', f'{DIGEST}, qop="auth"'],
        lambda request: is_digest(request, "md5", qop=True),
    ),
    "both in one line": (
        [f'Basic realm="cam, too", {DIGEST}, qop="auth"'],
        lambda request: is_digest(request, "md5", qop=True),
    ),
}


def camera(challenges, accepts):
    """A server of pictures for authenticated requests."""
    headers = [f"WWW-Authenticate: {challenge}" for challenge in challenges]

    def handle(server, request):
        if accepts(request):
            return [answer(picture())]
        return [answer(b"no", "text/plain", status="401 Unauthorized", headers=headers)]

    return serving(handle)


@pytest.mark.input_kind("camera or stream", "Basic and Digest authentication over HTTP", "RFC 7616", "accepted")
@pytest.mark.parametrize(("challenges", "accepts"), CHALLENGES.values(), ids=CHALLENGES)
def test_a_picture_behind_a_password_is_read(challenges, accepts):
    with camera(challenges, accepts) as server:
        options = SourceOptions(every_s=0.05)
        source = open_source(f"http://{USER}:{ENCODED}@{server.address}/cgi-bin/image?a=1", options=options)
        frames = [source.read() for _ in range(3)]
        source.close()
        assert not any(frame.lost for frame in frames)
        assert source.name == redact(f"http://{server.address}/cgi-bin/image?a=1")
        refused = [request for request in server.requests if not accepts(request)]
        assert len(refused) == 1  # later requests answer the same challenge
        counts = [fields_of(request)[1].get("nc") for request in server.requests[1:4]]
        assert counts == ([None] * 3 if counts[0] is None else ["00000001", "00000002", "00000003"])


@pytest.mark.parametrize(("challenges", "accepts"), [CHALLENGES["Basic"], CHALLENGES["Digest"]])
@pytest.mark.parametrize(
    ("user", "advice"),
    [("admin:wrong-secret@", "check the user and the password"), ("", "write http://USER:PASSWORD@")],
)
def test_a_wrong_or_missing_password_is_reported_and_not_printed(challenges, accepts, user, advice):
    with camera(challenges, accepts) as server, pytest.raises(SourceError) as raised:
        open_source(f"http://{user}{server.address}/")
    assert advice in str(raised.value)
    assert "401 Unauthorized" in str(raised.value)
    assert "secret" not in str(raised.value)
    assert len(server.requests) <= 2  # cameras lock a user out after a few failures


def test_a_new_nonce_is_answered():
    def handle(server, request):
        nonce = f"nonce{len(server.requests) // 2}"
        if fields_of(request)[1].get("nonce") == nonce:
            return [answer(picture())]
        header = f'WWW-Authenticate: Digest realm="cam", nonce="nonce{(len(server.requests) + 1) // 2}", qop="auth"'
        return [answer(b"", status="401 Unauthorized", headers=[header])]

    with serving(handle) as server:
        source = open_source(f"http://admin:pw@{server.address}/", options=SourceOptions(every_s=0.05))
        assert [source.read().lost for _ in range(4)] == [""] * 4
        source.close()


@pytest.mark.parametrize(
    "status", ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]
)
def test_a_redirect_is_followed(status):
    def handle(server, request):
        if " /old" in request:
            return [answer(b"", status=status, headers=["Location: new/image?a=1"])]
        return [answer(picture())]

    with serving(handle) as server:
        source = open_source(f"http://{server.address}/old")
        assert not source.read().lost
        source.close()
        assert server.paths == ["/old", "/new/image?a=1"]


def test_credentials_never_go_to_another_host():
    def demanding(server, request):
        return [answer(b"", status="401 Unauthorized", headers=['WWW-Authenticate: Basic realm="other"'])]

    with serving(demanding) as other:
        elsewhere = other.address.replace("127.0.0.1", "localhost")

        def handle(server, request):
            return [answer(b"", status="302 Found", headers=[f"Location: http://{elsewhere}/"])]

        with serving(handle) as server, pytest.raises(SourceError, match="401 Unauthorized"):
            HttpClient(f"http://admin:secret@{server.address}/").open(5.0)
        assert len(other.requests) == 1
        assert "Authorization" not in other.requests[0]


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("/", "it redirects in a circle"),
        ("rtsp://cam/live", r"redirects to an address of another kind \(rtsp\)"),
        ("file:///etc/passwd", r"redirects to an address of another kind \(file\)"),
        ("http://[::1", "the server redirects to a malformed address"),
    ],
)
def test_a_redirect_that_leads_nowhere_is_an_error(location, reason):
    with serving(
        lambda server, request: [answer(b"", status="302 Found", headers=[f"Location: {location}"])]
    ) as server:
        with pytest.raises(SourceError, match=reason):
            HttpClient(f"http://{server.address}/").open(5.0)
        assert len(server.requests) <= 6


@pytest.mark.process
def test_a_camera_with_a_certificate_of_its_own_is_read(tmp_path):
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=camera", "-days", "2"]
    subprocess.run([*command, "-keyout", tmp_path / "key", "-out", tmp_path / "cert"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    with serving(lambda server, request: [answer(picture())], context) as server:
        source = open_source(f"https://{server.address}/", options=SourceOptions(every_s=0.05))
        assert [source.read().lost for _ in range(2)] == ["", ""]
        source.close()


def test_a_server_without_encryption_is_reported():
    with serving(lambda server, request: [b"no"]) as server, pytest.raises(SourceError, match="the encryption failed"):
        HttpClient(f"https://{server.address}/").open(5.0)


def test_a_server_that_speaks_no_http_is_left_to_the_decoder():
    with serving(lambda server, request: [b"ICY 200 OK\r\n\r\n"]) as server, pytest.raises(SourceError) as raised:
        open_source(f"http://{server.address}/")
    assert "cannot be opened" in str(raised.value)
    assert len(server.requests) > 1


def test_a_server_that_is_silent_is_reported_in_time():
    reason = pytest.raises(SourceError, match=r"port \d+ did not answer within 0.2 s")
    with socket.create_server(("127.0.0.1", 0)) as server, reason:
        HttpClient(f"http://127.0.0.1:{server.getsockname()[1]}/").open(0.2)
