"""Names and messages show no credentials; an address that does not answer has a reason."""

import socket
from urllib.parse import quote, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camrt.runtime.sources.network.url import diagnose, encode_credentials, redact, redact_text, split_credentials


@pytest.mark.parametrize(
    ("url", "redacted"),
    [
        ("rtsp://cam/live", "rtsp://cam/live"),
        ("rtsp://admin:12345@cam:554/live", "rtsp://cam:554/live"),
        ("rtsp://admin:p@ss@cam/live", "rtsp://cam/live"),
        ("rtsp://admin:pa/ss?w@cam/live", "rtsp://cam/live"),
        ("rtsp://admin:12/34@cam/live", "rtsp://cam/live"),
        ("rtsp://admin@cam/live", "rtsp://cam/live"),
        ("http://cam/@channel/video.mp4", "http://cam/@channel/video.mp4"),
        ("http://[::1]:8080/video", "http://[::1]:8080/video"),
        ("http://cam/v?channel=1&token=abc&Password=x#now", "http://cam/v?channel=1&token=***&Password=***#now"),
        ("http://cam/v?access_token=abc&size=2", "http://cam/v?access_token=***&size=2"),
        ("rtsp://cam/user=admin&password=tlJwpbo6&channel=1", "rtsp://cam/user=***&password=***&channel=1"),
        ("http://cam/monkey=3", "http://cam/monkey=3"),
    ],
)
def test_redact_removes_credentials(url, redacted):
    assert redact(url) == redacted


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
def test_redact_removes_passwords_with_any_characters(password):
    assert redact(f"rtsp://admin:§{password}§@cam:554/live") == "rtsp://cam:554/live"


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
        ("there is no rtsp:/admin:pw@cam/live here", "there is no rtsp://cam/live here"),
        ("rtsp://admin:p w@cam/live was lost", "rtsp://cam/live was lost"),
        ("a rtsp://u:pw@cam/1, rtsp://u:pw@cam/2 and 3", "a rtsp://cam/1, rtsp://cam/2 and 3"),
        ("admin:pw@192.168.1.2/live", "***@192.168.1.2/live"),
        ("no camera 1: see http://cam/?token=abc", "no camera 1: see http://cam/?token=***"),
        ("mail me@home, at 12:30", "mail me@home, at 12:30"),
        ("gst:rtspsrc location='rtsp://u:pw@cam' ! appsink", "gst:rtspsrc location='rtsp://cam' ! appsink"),
        ("gst:rtspsrc user-id=admin user-pw=pw", "gst:rtspsrc user-id=*** user-pw=***"),
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
