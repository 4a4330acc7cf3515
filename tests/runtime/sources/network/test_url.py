"""Names and messages show no credentials; an address that does not answer has a reason."""

import re
import socket
from urllib.parse import quote, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camrt.runtime.sources.network.url import diagnose, encode_credentials, redact, redact_text, split_credentials

_NAMES = (
    "loginpas loginuse user usr usename pw pwd pass passwd password passphrase psk pin key apikey api_key accessKey "
    "access_token refresh_token token auth Authorization bearer jwt sid session sessionid client_secret secret sig "
    "signature X-Amz-Signature Policy Key-Pair-Id hdnts st hash code ticket"
)
SECRET_FORMS = [
    "rtsp://admin:§@cam/live",
    "rtsp://§@cam/live",
    "rtsp://admin:a@§@cam/live",
    "rtsp://admin:a/§?w@cam/live",
    "rtsp://admin:12/§@cam/live",
    "rtsp://§",
    "rtsp://cam:§",
    "rtmp://cam/live2/§",
    "rtmp://cam/app/stream?§",
    "srt://cam:9?mode=caller&passphrase=§",
    "srt://cam:9?streamid=§",
    "http://cam/cgi/§/video.mjpg",
    "http://cam/v;jsessionid=§",
    "http://cam/v#§",
    "http://cam/v?%74oken=§",
    "http://cam/v?%70%61ss=§",
    *(f"http://cam/v?size=2&{name}=§" for name in _NAMES.split()),
]


@pytest.mark.parametrize("form", SECRET_FORMS)
def test_no_part_of_an_address_but_scheme_and_host_is_shown(form):
    url = form.replace("§", "s3cr3t")
    shown = redact(url)
    scheme, host = url[: url.index("://")], "cam" if "cam" in url else "s3cr3t"
    assert re.fullmatch(rf"{scheme}://{host}(:9)?(/#[0-9a-f]{{4}})?", shown)
    assert redact(shown) == shown
    for text in (url, f"cannot open '{url}': refused", f"({url}).", f"first {url} then {url}"):
        assert redact_text(text) == text.replace(url, shown)
        assert redact_text(redact_text(text)) == redact_text(text)


@pytest.mark.parametrize(
    ("url", "redacted"),
    [
        ("rtsp://cam", "rtsp://cam"),
        ("rtsp://cam/", "rtsp://cam/"),
        ("rtsp://admin:12345@cam:554", "rtsp://cam:554"),
        ("udp://@239.0.0.1:1234", "udp://239.0.0.1:1234"),
        ("rtsp://[::1]:8554", "rtsp://[::1]:8554"),
    ],
)
def test_scheme_host_and_port_stay(url, redacted):
    assert redact(url) == redacted
    assert redact_text(url) == redacted


def test_the_hash_tells_streams_of_one_host_apart():
    assert redact("rtsp://u:a@cam/1") == redact("rtsp://u:b@cam/1") != redact("rtsp://cam/2")


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
def test_redact_removes_passwords_with_any_characters(password):
    assert redact(f"rtsp://admin:§{password}§@cam:554") == "rtsp://cam:554"


@pytest.mark.input_kind(
    "camera or stream", "password with special characters that are not encoded", "the same password, encoded", "equal"
)
@pytest.mark.parametrize(
    "password", ["p@ss", "pa/ss", "pa?ss", "pa#ss", "pa:ss", "50%off", "@/?#:%", "p@/s@s", "ü €", "a%2"]
)
@pytest.mark.parametrize("rest", ["cam/live", "cam:554/live?x=1", "192.168.1.2", "[::1]:554/a"])
def test_a_password_may_have_special_characters(password, rest):
    encoded = f"rtsp://admin:{quote(password, safe='')}@{rest}"
    for url in (f"rtsp://admin:{password}@{rest}", encoded):
        assert split_credentials(url) == (f"rtsp://{rest}", "admin", password)
        parts = urlsplit(encode_credentials(url))
        assert unquote(parts.password) == password
        assert (
            f"rtsp://{parts.netloc.rpartition('@')[2]}{parts.path}{'?' * bool(parts.query)}{parts.query}"
            == f"rtsp://{rest}"
        )
    assert encode_credentials(encoded) == encoded


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://cam/live",
        "http://cam/@channel/video.mp4",
        "http://cam:80/@channel",
        "http://[::1]:8080/video?to=a@b",
        "http://user:pw@cam/@channel",
        "rtsp://admin@cam/live",
        "udp://@239.0.0.1:1234",
    ],
)
def test_a_valid_address_keeps_its_meaning(url):
    assert encode_credentials(url) == url


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("there is no rtsp:/admin:pw@cam here", "there is no rtsp://cam here"),
        ("rtsp://cam:554: connection refused", "rtsp://cam:554: connection refused"),
        ("rtsp://admin:p w@cam was lost", "rtsp://cam was lost"),
        ("a rtsp://u:pw@cam, rtsp://u:pw@[::1]:80 and 3", "a rtsp://cam, rtsp://[::1]:80 and 3"),
        ("admin:pw@192.168.1.2/live", "***@192.168.1.2/live"),
        ("mail me@home, at 12:30", "mail me@home, at 12:30"),
        ("there is no C:/pictures/a.jpg", "there is no C:/pictures/a.jpg"),
        ("gst:rtspsrc location='rtsp://u:pw@cam' ! appsink", "gst:rtspsrc location='rtsp://cam' ! appsink"),
        ("gst:rtspsrc user-id=admin user-pw=pw", "gst:rtspsrc user-id=*** user-pw=***"),
        ("loginpas=a %70w=b, size=2", "loginpas=*** %70w=b, size=2"),
    ],
)
def test_a_text_is_redacted(text, redacted):
    assert redact_text(text) == redacted


@pytest.mark.process
def test_diagnose_tells_refusal_from_an_unknown_host_and_a_server_without_video():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert "check the path" in diagnose(f"rtsp://127.0.0.1:{port}/live")
    assert diagnose(f"rtsp://127.0.0.1:{port}/live") == "connection refused"
    assert diagnose("rtsp://no-such-host.invalid/live") == "the host name is unknown"
    assert "; percent-encode @ / ? # : and %" in diagnose("rtsp://no-such-host.invalid:12/34@cam/live")
    assert diagnose("rtp://127.0.0.1:9") == "nothing that can be decoded arrived; send MPEG-TS, or use rtsp://"
