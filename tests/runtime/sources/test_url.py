"""Names and messages show no credentials; an address that does not answer has a reason."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camrt.runtime.sources.url import diagnose, redact


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


@pytest.mark.process
def test_diagnose_tells_refusal_from_an_unknown_host_and_a_server_without_video():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert "check the path" in diagnose(f"rtsp://127.0.0.1:{port}/live")
    assert diagnose(f"rtsp://127.0.0.1:{port}/live") == "connection refused"
    assert diagnose("rtsp://no-such-host.invalid/live") == "the host name is unknown"
    assert "percent-encode" in diagnose("rtsp://admin:pa/ss@cam/live")
