"""No password reaches a name or a message; an address that does not answer says why."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camrt.runtime.sources.url import redact, why_not


@pytest.mark.parametrize(
    ("url", "shown"),
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
def test_shows_an_address_without_its_credentials(url, shown):
    assert redact(url) == shown


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
def test_shows_nothing_of_a_password_whatever_its_characters(password):
    shown = redact(f"rtsp://admin:§{password}§@cam:554/live")
    assert shown == "rtsp://cam:554/live"


@pytest.mark.process
def test_tells_refusal_from_an_unknown_host_and_a_server_without_video():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert "check the path" in why_not(f"rtsp://127.0.0.1:{port}/live")
    assert why_not(f"rtsp://127.0.0.1:{port}/live") == "connection refused"
    assert why_not("rtsp://no-such-host.invalid/live") == "the host's name is not known"
    assert "percent-encode" in why_not("rtsp://admin:pa/ss@cam/live")
