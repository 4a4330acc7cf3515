"""The page of ``camrt live --serve`` in Chromium: lost and cut connections, and the token."""

import pytest

from support.chromium import open_page, shown_image
from support.desktop import eventually
from support.relay import relayed
from support.serving import serving
from support.stalling import network

pytestmark = pytest.mark.browser


def test_a_hidden_or_left_page_closes_its_connections(browser, live):
    with open_page(browser, live.url) as page:
        assert eventually(lambda: live.metric("camrt_viewers") == 1)
        # Without a window no tab hides another, so the test sets the property and sends the event.
        page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        assert eventually(lambda: live.metric("camrt_viewers") == 0)
        page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
        assert eventually(lambda: live.metric("camrt_viewers") == 1)
        page.get_by_role("link", name="API").click()
        assert eventually(lambda: live.metric("camrt_viewers") == 0)
        page.go_back()
        assert eventually(lambda: live.metric("camrt_viewers") == 1)
    assert eventually(lambda: live.metric("camrt_viewers") == 0)


def test_the_page_reports_that_the_server_has_ended_and_reconnects_to_a_new_one(browser):
    expected = ("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_EMPTY_RESPONSE")
    with serving() as served, open_page(browser, served.url, expected_errors=expected) as page:
        assert eventually(lambda: page.locator("#state").inner_text() == "live")
        served.process.terminate()
        served.process.communicate(timeout=120)
        assert eventually(lambda: page.locator("#state").inner_text() == "no connection")
        with serving(bind=str(served.port)):
            assert eventually(lambda: page.locator("#state").inner_text() == "live")
            images = set()
            assert eventually(lambda: images.add(shown_image(page).tobytes()) or len(images) > 3)


def test_the_page_reports_a_connection_whose_events_stop_and_recovers(browser, live):
    """The connection stays open, so the browser reports no error."""
    with network(live.port) as held, open_page(browser, f"http://127.0.0.1:{held.port}/") as page:
        assert eventually(lambda: page.locator("#state").inner_text() == "live")
        held.held.set()
        assert eventually(lambda: page.locator("#state").inner_text() == "no connection")
        held.held.clear()
        assert eventually(lambda: page.locator("#state").inner_text() == "live")
        images = set()
        assert eventually(lambda: images.add(shown_image(page).tobytes()) or len(images) > 3)


@pytest.mark.parametrize("reset", [False, True])
def test_an_image_stream_that_was_cut_is_opened_again_while_the_events_continue(browser, live, reset):
    expected = ("ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION_RESET")
    with relayed(live.port) as relay, open_page(browser, relay.url, expected_errors=expected) as page:
        assert eventually(lambda: shown_image(page).shape == (480, 640, 3))
        before = len(relay.streams)
        relay.cut(reset=reset)
        assert eventually(lambda: len(relay.streams) > before)
        assert eventually(lambda: page.evaluate("image.naturalWidth") == 640)
        images = set()
        assert eventually(lambda: images.add(shown_image(page).tobytes()) or len(images) > 3)
        page.get_by_role("button", name="Freeze").click()
        page.wait_for_timeout(5000)
        assert len(relay.streams) == before + 1  # a standing image is no broken stream


def test_the_token_opens_the_page_and_leaves_the_address(browser):
    with serving(bind="0.0.0.0:0") as served:
        url = f"http://127.0.0.1:{served.port}/"
        with open_page(browser, f"{url}?token={served.token}") as page:
            assert page.url == url
            assert eventually(lambda: shown_image(page).shape == (480, 640, 3))
            (cookie,) = page.context.cookies()
            assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
            assert page.evaluate("document.cookie") == ""
            page.reload()
            assert eventually(lambda: shown_image(page).shape == (480, 640, 3))
            page.goto(f"{url}?token={served.token}")  # a second visit, with the cookie
            assert page.url == url
            assert page.evaluate("performance.getEntriesByType('navigation')[0].name") == url


def test_the_form_takes_the_token(browser):
    with serving(bind="0.0.0.0:0") as served:
        url = f"http://127.0.0.1:{served.port}/"
        with open_page(browser, url, expected_errors=("401",)) as page:
            page.get_by_label("Token").fill("a guess")
            page.get_by_role("button", name="Open").click()
            assert "another token" in page.locator("body").inner_text()
            page.get_by_label("Token").fill(f" {served.token} ")
            page.get_by_role("button", name="Open").click()
            assert eventually(lambda: shown_image(page).shape == (480, 640, 3))
            assert page.url == url
