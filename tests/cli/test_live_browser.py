"""The page of ``camrt live --serve`` in a real Chromium: what is seen, and what each control does."""

import cv2
import numpy as np
import pytest

import camrt
from camrt.runtime.maps.overlay import OverlayStyle
from support.chromium import chromium, picture, visitor
from support.desktop import eventually
from support.relay import relayed
from support.serving import DEMO, serving

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def synthetic():
    with serving() as served:
        yield served


@pytest.fixture
def live(synthetic):
    yield synthetic
    synthetic.change(
        classes=[], paused=False, colormap="turbo", alpha=0.5, threshold=0.0, boxes=False, alpha_by_value=False
    )


@pytest.fixture(scope="module")
def frame():
    """A picture in which the demo model sees several classes."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    return cv2.resize(noise, (320, 240), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def still(frame, tmp_path):
    cv2.imwrite(str(tmp_path / "picture.png"), frame)
    with serving(source=("--source", "picture.png"), cwd=tmp_path) as served:
        yield served


@pytest.fixture(scope="module")
def result(frame):
    return camrt.load(DEMO)(frame)


def shows(page, expected):
    """Wait until the page shows a picture, but for what JPEG takes away."""

    def is_it():
        seen = picture(page)
        return seen.shape == expected.shape and np.abs(seen.astype(int) - expected).mean() < 4

    return eventually(is_it)


def test_the_picture_and_the_numbers_live(browser, live):
    with visitor(browser, live.url) as page:
        assert eventually(lambda: picture(page).shape == (480, 640, 3))
        seen = {picture(page).tobytes()}
        assert eventually(lambda: seen.add(picture(page).tobytes()) or len(seen) > 5)
        frames = set()
        assert eventually(lambda: frames.add(page.locator("#frame").inner_text()) or len(frames) > 5)
        assert page.locator("#state").inner_text() == "live"
        assert page.locator("#top button").count() == 5
        assert page.locator("#captions span").inner_text().split()[0] in live.get("/api/labels")
        assert page.locator("#stages .ms").count() == 4
        assert eventually(lambda: len(page.locator("#chart-drawn").get_attribute("points").split()) >= 2)
        assert page.title() == "camrt: demo.onnx"


def test_a_click_on_a_class_shows_its_map_and_one_more_shows_two_side_by_side(browser, still, frame, result):
    (first, _, _), (second, name, _), (third, _, _) = result.top(3)
    with visitor(browser, still.url) as page:
        assert shows(page, result.draw(frame, first))
        page.locator("#top button").nth(1).click()
        assert shows(page, result.draw(frame, second))
        assert name in page.locator("#captions").inner_text()
        page.locator("#top button").nth(2).click()
        assert shows(page, np.hstack([result.draw(frame, class_id) for class_id in (second, third)]))
        assert page.locator("#captions span").count() == 2
        page.locator("#top button").nth(1).click()
        assert shows(page, result.draw(frame, third))
        page.get_by_role("button", name="Follow the best").click()
        assert shows(page, result.draw(frame, first))


def test_each_control_does_what_it_says(browser, still, frame, result):
    best = result.class_id
    with visitor(browser, still.url) as page:
        assert shows(page, result.draw(frame))
        page.get_by_label("Colours").select_option("bone")
        assert shows(page, result.draw(frame, best, style=OverlayStyle(colormap="bone")))
        page.get_by_label("Opacity", exact=False).first.fill("0.9")
        assert shows(page, result.draw(frame, best, style=OverlayStyle(colormap="bone", alpha=0.9)))
        page.get_by_label("Threshold").fill("0.6")
        assert shows(page, result.draw(frame, best, style=OverlayStyle(colormap="bone", alpha=0.9, threshold=0.6)))
        assert page.locator("#threshold-value").inner_text() == "60 %"
        page.get_by_label("Threshold").fill("0")
        page.get_by_label("Opacity grows").check()
        assert shows(
            page, result.draw(frame, best, style=OverlayStyle(colormap="bone", alpha=0.9, alpha_by_value=True))
        )
        before = picture(page)
        page.get_by_label("Boxes").check()
        x0, y0, x1, _, _ = result.boxes()[0]
        assert eventually(lambda: np.abs(picture(page)[y0, x0:x1].astype(int) - before[y0, x0:x1]).mean() > 20)
        assert still.get("/api/settings")["boxes"] is True


def test_labels_are_found_and_chosen(browser, still, frame, result):
    labels = camrt.load(DEMO).labels
    with visitor(browser, still.url) as page:
        assert eventually(lambda: page.locator("#count").inner_text() == str(len(labels)))
        page.get_by_role("searchbox").fill("STA")
        assert page.locator("#found button").all_inner_texts() == ["star"]
        page.locator("#found button").click()
        assert shows(page, result.draw(frame, labels.index("star")))
        page.get_by_role("searchbox").fill("zebra")
        assert page.locator("#found").inner_text() == "no label like that"


def test_freeze_holds_the_picture_for_everybody(browser, live):
    with visitor(browser, live.url) as one, visitor(browser, live.url) as other:
        assert eventually(lambda: picture(other).shape == (480, 640, 3))
        one.get_by_role("button", name="Freeze").click()
        assert eventually(lambda: other.locator("#state").inner_text() == "frozen")
        assert eventually(lambda: np.array_equal(picture(other), picture(one)))
        held = picture(other)
        other.wait_for_timeout(500)
        assert np.array_equal(picture(other), held)
        other.get_by_role("button", name="Frozen").click()
        assert eventually(lambda: not np.array_equal(picture(one), held))
        assert eventually(lambda: one.locator("#state").inner_text() == "live")


def test_two_viewers_share_the_settings(browser, live):
    with visitor(browser, live.url) as one, visitor(browser, live.url) as other:
        assert eventually(lambda: "2 watching" in one.locator("#counts").inner_text())
        one.get_by_label("Threshold").fill("0.35")
        one.get_by_label("Colours").select_option("viridis")
        assert eventually(lambda: other.locator("#threshold").input_value() == "0.35")
        assert eventually(lambda: other.locator("#colormap").input_value() == "viridis")


def test_a_stalled_viewer_does_not_disturb_the_page(browser, live):
    with live.socket() as stalled, visitor(browser, live.url) as page:
        stalled.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert eventually(lambda: live.metric("camrt_viewers") == 2)
        seen = set()
        assert eventually(lambda: seen.add(page.locator("#frame").inner_text()) or len(seen) > 30)
        pictures = set()
        assert eventually(lambda: pictures.add(picture(page).tobytes()) or len(pictures) > 10)


def test_the_snapshot_is_saved_as_a_file(browser, still, frame, result, tmp_path):
    with visitor(browser, still.url) as page:
        assert shows(page, result.draw(frame))
        with page.expect_download() as saved:
            page.get_by_role("link", name="Snapshot").click()
        assert saved.value.suggested_filename == "camrt-0-0.jpg"
        saved.value.save_as(tmp_path / "snapshot.jpg")
    snapshot = cv2.imread(str(tmp_path / "snapshot.jpg"))
    assert np.abs(snapshot.astype(int) - result.draw(frame)).mean() < 4


def test_everything_can_be_done_with_the_keyboard(browser, still, frame, result):
    labels = camrt.load(DEMO).labels
    with visitor(browser, still.url) as page:
        assert shows(page, result.draw(frame))
        page.keyboard.press("m")
        assert shows(page, result.draw(frame, style=OverlayStyle(colormap="jet")))
        page.keyboard.press("/")
        page.keyboard.type("m s/b")  # what is written is no command
        assert still.get("/api/settings")["colormap"] == "jet"
        page.get_by_role("searchbox").fill("heart")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        heart = labels.index("heart")
        assert shows(page, result.draw(frame, heart, style=OverlayStyle(colormap="jet")))
        page.locator("#top button").nth(0).focus()
        page.keyboard.press("Space")  # the button, not the freeze
        assert eventually(lambda: len(still.get("/api/settings")["classes"]) in (0, 2))
        assert still.get("/api/settings")["paused"] is False
        page.locator("#alpha").focus()
        page.keyboard.press("Home")
        assert eventually(lambda: still.get("/api/settings")["alpha"] == 0)
        page.keyboard.press("ArrowRight")
        assert eventually(lambda: still.get("/api/settings")["alpha"] == 0.01)
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("b")
        page.keyboard.press("Space")
        assert eventually(lambda: still.get("/api/settings")["boxes"] and still.get("/api/settings")["paused"])


def focused(page):
    return page.evaluate("document.activeElement.innerText")


def test_the_focus_stays_where_it_is_when_classes_change(browser, still):
    with visitor(browser, still.url) as page:
        assert eventually(lambda: page.locator("#count").inner_text())
        page.get_by_role("searchbox").fill("r")
        page.keyboard.press("Tab")
        first, second = page.locator("#found button").all_inner_texts()[:2]
        chosen = page.locator("#chosen button")
        for pressed in ([first], [], [first]):
            page.keyboard.press("Space")
            assert eventually(
                lambda pressed=pressed: page.locator("#found [aria-pressed=true]").all_inner_texts() == pressed
            )
            assert focused(page) == first
        numbers = [still.get("/api/labels").index(label) for label in (first, second)]
        assert eventually(lambda: still.get("/api/settings")["classes"] == numbers[:1])
        still.change(classes=numbers)
        assert eventually(lambda: chosen.all_inner_texts() == [f"{first} ✕", f"{second} ✕", "Follow the best"])
        chosen.nth(0).focus()
        for rest in ([f"{second} ✕", "Follow the best"], ["Follow the best"]):
            page.keyboard.press("Space")
            assert eventually(lambda rest=rest: chosen.all_inner_texts() == rest)
            assert focused(page) == rest[0]
        assert eventually(lambda: still.get("/api/settings")["classes"] == [])
        still.change(classes=numbers)
        assert eventually(lambda: chosen.count() == 3)
        assert focused(page) == "Follow the best"
        assert chosen.nth(2).get_attribute("aria-pressed") == "false"
        page.keyboard.press("Space")
        assert eventually(lambda: chosen.count() == 1)
        assert chosen.nth(0).get_attribute("aria-pressed") == "true"
        assert still.get("/api/settings")["paused"] is False


def test_a_click_without_a_press_is_on_what_the_button_says_now(browser, live):
    with visitor(browser, live.url) as page:
        best = page.locator("#top button").first
        assert eventually(best.is_visible)
        best.focus()
        page.keyboard.press("Tab")
        best.hover()
        page.mouse.down()
        page.mouse.up()
        assert eventually(lambda: live.get("/api/settings")["classes"])
        live.change(classes=[])
        assert eventually(lambda: page.locator("#chosen button").count() == 1)
        was = best.evaluate("button => button.classId")
        assert eventually(lambda: best.evaluate("button => button.classId") != was, within_s=60)
        clicked = best.evaluate("button => { button.click(); return button.classId; }")  # as a screen reader does
        assert eventually(lambda: live.get("/api/settings")["classes"] == [clicked])


def test_a_key_that_is_held_acts_once(browser, live):
    with visitor(browser, live.url) as page:
        sent = []
        page.on("request", lambda request: sent.append(request.post_data) if request.method == "PATCH" else None)
        assert eventually(lambda: page.locator("#state").inner_text() == "live")
        for _ in range(6):
            page.keyboard.down("Space")
            page.wait_for_timeout(100)
        page.keyboard.up("Space")
        assert sent == ['{"paused":true}']
        page.get_by_role("button", name="Frozen").focus()
        for _ in range(6):
            page.keyboard.down("Enter")
            page.wait_for_timeout(100)
        page.keyboard.up("Enter")
        assert sent == ['{"paused":true}', '{"paused":false}']


def test_chosen_classes_have_their_names_however_late_the_labels_come(browser, live):
    live.change(classes=[0])
    name = live.get("/api/labels")[0]
    with visitor(browser, live.url) as page:
        assert eventually(lambda: page.locator("#state").inner_text() == "live")
        asked = []
        page.on("request", lambda request: asked.append(request.url.split("/")[-1]))
        page.route("**/api/labels", lambda route: (page.wait_for_timeout(1000), route.continue_()))
        page.reload(wait_until="domcontentloaded")
        assert eventually(lambda: page.locator("#state").inner_text() == "live")
        assert page.locator("#chosen button").all_inner_texts() == [f"{name} ✕", "Follow the best"]
        assert [path for path in asked if path.startswith("stream")] == ["stream?camera=0&n=1"]


def test_every_control_has_a_name_for_a_screen_reader(browser, live):
    with visitor(browser, live.url) as page:
        assert eventually(lambda: page.locator("#top button").count() == 5)
        told = page.locator("body").aria_snapshot()
        assert eventually(lambda: page.locator("#said").inner_text() in live.get("/api/labels"))
        assert page.locator("#said").get_attribute("aria-live") == "polite"
        assert "shown: " in page.locator("#picture").get_attribute("alt")
    for control in ('slider "Opacity', 'slider "Threshold', 'combobox "Colours"', 'checkbox "Boxes"', 'button "Freeze"',
                    'searchbox "Search all 6 labels"', 'link "Snapshot"', 'link "API"', 'img "Frames per second',
                    'heading "Classes"', 'list "Best classes"'):  # fmt: skip
        assert control in told
    for line in told.splitlines():
        kind = line.strip(" -").split()[0].rstrip(":")
        if kind in ("button", "link", "slider", "combobox", "checkbox", "searchbox", "img"):
            assert '"' in line, line


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize(("width", "height"), [(390, 844), (844, 390), (1280, 800)])
def test_nothing_sticks_out_and_text_can_be_read(browser, live, scheme, width, height):
    live.change(classes=[0, 1, 2])
    with visitor(browser, live.url, viewport={"width": width, "height": height}, color_scheme=scheme) as page:
        assert eventually(lambda: picture(page).shape == (480, 1920, 3))
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width
        box = page.locator("#picture").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        text, ground = page.evaluate(
            "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
            ".map(color => color.match(/\\d+/g).slice(0, 3).reduce((sum, part) => sum + +part, 0))"
        )
        assert (text > ground + 500) if scheme == "dark" else (ground > text + 500)


def test_a_page_that_is_hidden_or_left_lets_go_of_its_connections(browser, live):
    with visitor(browser, live.url) as page:
        assert eventually(lambda: live.metric("camrt_viewers") == 1)
        # Without a window no tab hides another; the page is told so instead.
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


def test_the_page_says_when_the_server_has_gone_and_comes_back_with_it(browser):
    complaints = ("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_EMPTY_RESPONSE")
    with serving() as served, visitor(browser, served.url, complaints=complaints) as page:
        assert eventually(lambda: page.locator("#state").inner_text() == "live")
        served.process.terminate()
        served.process.communicate(timeout=20)
        assert eventually(lambda: page.locator("#state").inner_text() == "no connection")
        with serving(bind=str(served.port)):
            assert eventually(lambda: page.locator("#state").inner_text() == "live", within_s=30)
            seen = set()
            assert eventually(lambda: seen.add(picture(page).tobytes()) or len(seen) > 3)


@pytest.mark.parametrize("reset", [False, True])
def test_a_picture_that_was_cut_comes_back_though_the_events_go_on(browser, live, reset):
    complaints = ("ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION_RESET")
    with relayed(live.port) as relay, visitor(browser, relay.url, complaints=complaints) as page:
        assert eventually(lambda: picture(page).shape == (480, 640, 3))
        asked = len(relay.streams)
        relay.cut(reset=reset)
        assert eventually(lambda: len(relay.streams) > asked)
        assert eventually(lambda: page.evaluate("picture.naturalWidth") == 640)
        seen = set()
        assert eventually(lambda: seen.add(picture(page).tobytes()) or len(seen) > 3)
        page.get_by_role("button", name="Freeze").click()
        page.wait_for_timeout(5000)
        assert len(relay.streams) == asked + 1  # a picture that stands still is not a dead one


def test_the_address_with_the_token_opens_the_page_and_loses_it(browser):
    with serving(bind="0.0.0.0:0") as served:
        url = f"http://127.0.0.1:{served.port}/"
        with visitor(browser, f"{url}?token={served.token}") as page:
            assert page.url == url
            assert eventually(lambda: picture(page).shape == (480, 640, 3))
            (cookie,) = page.context.cookies()
            assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
            assert page.evaluate("document.cookie") == ""
            page.reload()
            assert eventually(lambda: picture(page).shape == (480, 640, 3))
        with visitor(browser, url, complaints=("401",)) as page:
            assert "needs its token" in page.locator("body").inner_text()


def test_the_api_is_explained(browser, live):
    with visitor(browser, f"{live.url}api") as page:
        paths = live.get("/openapi.json")["paths"]
        assert eventually(lambda: page.locator("h2 code").count() == len(paths) + 1)  # settings are read and changed
        assert "keeps the camera's own pixels" in page.locator("body").inner_text()
