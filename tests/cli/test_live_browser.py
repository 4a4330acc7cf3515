"""The page of ``camrt live --serve`` in a real Chromium: images, numbers and controls."""

from dataclasses import fields

import cv2
import numpy as np
import pytest

import camrt
from camrt.runtime.render.display_settings import DisplaySettings
from support.chromium import chromium, open_page, shown_image
from support.desktop import eventually
from support.overlays import draw_shared
from support.relay import relayed
from support.serving import DEMO, jpegs, serving
from support.stalling import network
from support.tiny_models import HEADS, SIZES, write_two_heads

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def synthetic():
    with serving() as served:
        yield served, served.get("/api/settings")


@pytest.fixture
def live(synthetic):
    served, defaults = synthetic
    yield served
    served.change(**defaults)


@pytest.fixture(scope="module")
def frame():
    """An image in which the demo model finds several classes."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    return cv2.resize(noise, (320, 240), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def still(frame, tmp_path):
    cv2.imwrite(str(tmp_path / "image.png"), frame)
    with serving(source=("--source", "image.png"), cwd=tmp_path) as served:
        yield served


@pytest.fixture(scope="module")
def result(frame):
    return camrt.load(DEMO)(frame)


def shows(page, expected):
    """Wait until the page shows an image, apart from the losses of JPEG."""

    def is_shown():
        image = shown_image(page)
        return image.shape == expected.shape and np.abs(image.astype(int) - expected).mean() < 4

    return eventually(is_shown)


def test_images_and_numbers_are_live(browser, live):
    with open_page(browser, live.url) as page:
        assert eventually(lambda: shown_image(page).shape == (480, 640, 3))
        images = {shown_image(page).tobytes()}
        assert eventually(lambda: images.add(shown_image(page).tobytes()) or len(images) > 5)
        frames = set()
        assert eventually(lambda: frames.add(page.locator("#frame").inner_text()) or len(frames) > 5)
        assert page.locator("#state").inner_text() == "live"
        assert page.locator("#top button").count() == 5
        assert page.locator("#captions span").inner_text().split()[0] in live.get("/api/labels")
        assert page.locator("#stages .ms").count() == 4
        assert eventually(lambda: len(page.locator("#chart-drawn").get_attribute("points").split()) >= 2)
        assert page.title() == "camrt: demo.onnx"


def test_a_click_on_a_class_shows_its_map_and_a_second_one_both_side_by_side(browser, still, frame, result):
    (first, _, _), (second, name, _), (third, _, _) = result.top(3)
    with open_page(browser, still.url) as page:
        assert shows(page, draw_shared(result, frame, first))
        page.locator("#top button").nth(1).click()
        assert shows(page, draw_shared(result, frame, second))
        assert name in page.locator("#captions").inner_text()
        page.locator("#top button").nth(2).click()
        assert shows(page, draw_shared(result, frame, second, third))
        assert page.locator("#captions span").count() == 2
        page.locator("#top button").nth(1).click()
        assert shows(page, draw_shared(result, frame, third))
        page.get_by_role("button", name="Follow the best").click()
        assert shows(page, draw_shared(result, frame, first))


def test_each_control_changes_the_image_as_its_label_says(browser, still, frame, result):
    best = result.class_id
    with open_page(browser, still.url) as page:
        assert shows(page, result.draw(frame))
        page.get_by_label("Colours").select_option("bone")
        assert shows(page, draw_shared(result, frame, best, colormap="bone"))
        page.get_by_label("Opacity", exact=False).first.fill("0.9")
        assert shows(page, draw_shared(result, frame, best, colormap="bone", alpha=0.9))
        page.get_by_label("Threshold").fill("0.6")
        assert shows(page, draw_shared(result, frame, best, colormap="bone", alpha=0.9, threshold=0.6))
        assert page.locator("#threshold-value").inner_text() == "60 %"
        page.get_by_label("Threshold").fill("0")
        page.get_by_label("Opacity grows").uncheck()
        assert shows(page, draw_shared(result, frame, best, colormap="bone", alpha=0.9, alpha_by_value=False))
        before = shown_image(page)
        page.get_by_label("Boxes").check()
        x0, y0, x1, _, _ = result.boxes()[0]
        assert eventually(lambda: np.abs(shown_image(page)[y0, x0:x1].astype(int) - before[y0, x0:x1]).mean() > 20)
        assert still.get("/api/settings")["boxes"] is True
        page.get_by_label("Smoothing").fill("1.5")
        assert eventually(lambda: still.get("/api/settings")["smooth"] == 1.5)
        assert page.locator("#smooth-value").inner_text() == "1.5 s"


def test_each_display_setting_has_a_control_that_redraws_a_standing_image(browser, still):
    stream = still.connect()
    stream.request("GET", "/stream")
    images = jpegs(stream.getresponse())
    next(images)
    with open_page(browser, still.url) as page:
        assert eventually(lambda: page.locator("#top button").count() == 5)
        next(images)  # drawn for the page, which has just come
        for field in fields(DisplaySettings):
            before = still.get("/api/settings")[field.name]
            control = page.locator(f"#{field.name}")
            match field.metadata["kind"]:
                case "head":  # the model has one; `test_the_list_of_classes_follows_the_head` has two
                    assert control.is_hidden()
                    continue
                case "classes":
                    page.locator("#top button").first.click()
                case "share" | "seconds":
                    control.fill("0.35")
                case "flag":
                    control.set_checked(not before)
                case "choice":
                    control.select_option(next(choice for choice in field.metadata["choices"] if choice != before))
            assert eventually(lambda field=field, before=before: still.get("/api/settings")[field.name] != before)
            next(images)  # raises if no image comes
    stream.close()


def test_the_list_of_classes_follows_the_head(browser, frame, tmp_path):
    cv2.imwrite(str(tmp_path / "image.png"), frame)
    path = write_two_heads(tmp_path / "model.onnx")
    results = {name: camrt.load(path, head=name)(frame) for name in HEADS}

    def top_labels():
        return [label.inner_text() for label in page.locator("#top li:not([hidden]) .label").all()]

    with (
        serving(model=path, source=("--source", "image.png"), cwd=tmp_path) as served,
        open_page(browser, served.url) as page,
    ):
        control = page.get_by_label("Head")
        assert eventually(lambda: control.is_visible() and control.input_value() == "kind")
        assert "h next head" in page.locator("footer").inner_text()
        page.locator("#top button").nth(1).click()
        assert eventually(lambda: page.locator("#chosen button").count() == 2)
        control.select_option("size")
        result = results["size"]
        assert shows(page, draw_shared(result, frame, result.class_id))
        assert eventually(lambda: top_labels() == [label for _, label, _ in result.top(3)])
        assert page.locator("#count").inner_text() == "3"
        assert page.locator("#chosen button").count() == 1
        assert page.locator("#frame").inner_text().startswith("size, frame")
        page.get_by_label("Search all").fill("lar")
        page.get_by_role("button", name="large").last.click()
        assert eventually(lambda: "large" in page.locator("#chosen").inner_text())
        assert shows(page, draw_shared(result, frame, SIZES.index("large")))
        page.get_by_label("Search all").fill("")
        page.locator("h1").click()
        page.keyboard.press("Escape")
        page.keyboard.press("h")
        result = results["kind"]
        assert shows(page, draw_shared(result, frame, result.class_id))
        assert eventually(lambda: page.locator("#count").inner_text() == "4")
        assert control.input_value() == "kind"


def test_a_value_that_is_not_among_the_choices_is_an_option_too(browser, frame, tmp_path):
    cv2.imwrite(str(tmp_path / "image.png"), frame)
    flags = ("--normalize=-2,10", "--smooth", "12.5")
    with (
        serving(*flags, source=("--source", "image.png"), cwd=tmp_path) as served,
        open_page(browser, served.url) as page,
    ):
        choice = page.locator("#normalize")
        assert eventually(lambda: choice.count() and choice.input_value() == "-2,10")
        assert page.locator("#smooth-value").inner_text() == "12.5 s"
        assert page.locator("#smooth").input_value() == "12.5"
        choice.select_option("minmax")
        assert eventually(lambda: served.get("/api/settings")["normalize"] == "minmax")
        choice.select_option("-2,10")
        assert eventually(lambda: served.get("/api/settings")["normalize"] == "-2,10")


def test_a_setting_that_the_server_refuses_is_reported_and_reverted(browser, live):
    with open_page(browser, live.url, expected_errors=("422",)) as page:
        control = page.locator("#normalize")
        assert eventually(lambda: control.count() and control.input_value() == "running")
        control.evaluate("select => select.add(new Option('3,1'))")
        control.select_option("3,1")
        assert eventually(lambda: "the first less than the second" in page.locator("#error").inner_text())
        assert eventually(lambda: control.input_value() == "running")


def test_labels_are_found_by_the_search_and_chosen(browser, still, frame, result):
    labels = camrt.load(DEMO).labels
    with open_page(browser, still.url) as page:
        assert eventually(lambda: page.locator("#count").inner_text() == str(len(labels)))
        page.get_by_role("searchbox").fill("STA")
        assert page.locator("#hits button").all_inner_texts() == ["star"]
        page.locator("#hits button").click()
        assert shows(page, draw_shared(result, frame, labels.index("star")))
        page.get_by_role("searchbox").fill("zebra")
        assert page.locator("#hits").inner_text() == "no such label"


def test_freeze_holds_the_image_for_all_viewers(browser, live):
    with open_page(browser, live.url) as first, open_page(browser, live.url) as second:
        assert eventually(lambda: shown_image(second).shape == (480, 640, 3))
        first.get_by_role("button", name="Freeze").click()
        assert eventually(lambda: second.locator("#state").inner_text() == "frozen")
        assert eventually(lambda: np.array_equal(shown_image(second), shown_image(first)))
        held = shown_image(second)
        second.wait_for_timeout(500)
        assert np.array_equal(shown_image(second), held)
        second.get_by_role("button", name="Frozen").click()
        assert eventually(lambda: not np.array_equal(shown_image(first), held))
        assert eventually(lambda: first.locator("#state").inner_text() == "live")


def test_two_viewers_share_the_settings(browser, live):
    with open_page(browser, live.url) as first, open_page(browser, live.url) as second:
        assert eventually(lambda: "2 watching" in first.locator("#counts").inner_text())
        first.get_by_label("Threshold").fill("0.35")
        first.get_by_label("Colours").select_option("viridis")
        assert eventually(lambda: second.locator("#threshold").input_value() == "0.35")
        assert eventually(lambda: second.locator("#colormap").input_value() == "viridis")


def test_a_viewer_that_does_not_read_does_not_disturb_the_page(browser, live):
    with live.socket() as unread, open_page(browser, live.url) as page:
        unread.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert eventually(lambda: live.metric("camrt_viewers") == 2)
        frames = set()
        assert eventually(lambda: frames.add(page.locator("#frame").inner_text()) or len(frames) > 30)
        images = set()
        assert eventually(lambda: images.add(shown_image(page).tobytes()) or len(images) > 10)


def test_the_snapshot_is_saved_as_a_file(browser, still, frame, result, tmp_path):
    with open_page(browser, still.url) as page:
        assert shows(page, result.draw(frame))
        with page.expect_download() as download:
            page.get_by_role("link", name="Snapshot").click()
        assert download.value.suggested_filename == "camrt-0-0.jpg"
        download.value.save_as(tmp_path / "snapshot.jpg")
    snapshot = cv2.imread(str(tmp_path / "snapshot.jpg"))
    assert np.abs(snapshot.astype(int) - result.draw(frame)).mean() < 4


def test_the_keyboard_reaches_every_control(browser, still, frame, result):
    labels = camrt.load(DEMO).labels
    with open_page(browser, still.url) as page:
        assert shows(page, result.draw(frame))
        page.keyboard.press("m")
        assert shows(page, draw_shared(result, frame, result.class_id, colormap="jet"))
        page.keyboard.press("/")
        page.keyboard.type("m s/b")  # text in the search is no command
        assert still.get("/api/settings")["colormap"] == "jet"
        page.get_by_role("searchbox").fill("heart")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        heart = labels.index("heart")
        assert shows(page, draw_shared(result, frame, heart, colormap="jet"))
        page.locator("#top button").nth(0).focus()
        page.keyboard.press("Space")  # presses the button and does not freeze the image
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


def focused_text(page):
    return page.evaluate("document.activeElement.innerText")


def test_the_focus_stays_in_place_when_classes_change(browser, still):
    with open_page(browser, still.url) as page:
        assert eventually(lambda: page.locator("#count").inner_text())
        page.get_by_role("searchbox").fill("r")
        page.keyboard.press("Tab")
        first, second = page.locator("#hits button").all_inner_texts()[:2]
        chips = page.locator("#chosen button")
        numbers = [still.get("/api/labels").index(label) for label in (first, second)]
        for pressed, classes in (([first], numbers[:1]), ([], []), ([first], numbers[:1])):
            page.keyboard.press("Space")
            assert eventually(
                lambda pressed=pressed: page.locator("#hits [aria-pressed=true]").all_inner_texts() == pressed
            )
            assert focused_text(page) == first
            assert eventually(lambda classes=classes: still.get("/api/settings")["classes"] == classes)
        still.change(classes=numbers)
        assert eventually(lambda: chips.all_inner_texts() == [f"{first} ✕", f"{second} ✕", "Follow the best"])
        chips.nth(0).focus()
        for rest in ([f"{second} ✕", "Follow the best"], ["Follow the best"]):
            page.keyboard.press("Space")
            assert eventually(lambda rest=rest: chips.all_inner_texts() == rest)
            assert focused_text(page) == rest[0]
        assert eventually(lambda: still.get("/api/settings")["classes"] == [])
        still.change(classes=numbers)
        assert eventually(lambda: chips.count() == 3)
        assert focused_text(page) == "Follow the best"
        assert chips.nth(2).get_attribute("aria-pressed") == "false"
        page.keyboard.press("Space")
        assert eventually(lambda: chips.count() == 1)
        assert chips.nth(0).get_attribute("aria-pressed") == "true"
        assert still.get("/api/settings")["paused"] is False


def test_a_click_without_a_press_counts_for_the_class_that_the_button_shows_now(browser, live):
    with open_page(browser, live.url) as page:
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
        before = best.evaluate("button => button.classId")
        assert eventually(lambda: best.evaluate("button => button.classId") != before)
        class_id = best.evaluate("button => { button.click(); return button.classId; }")  # as a screen reader does
        assert eventually(lambda: live.get("/api/settings")["classes"] == [class_id])


def test_a_held_key_acts_once(browser, live):
    with open_page(browser, live.url) as page:
        bodies = []
        page.on("request", lambda request: bodies.append(request.post_data) if request.method == "PATCH" else None)
        assert eventually(lambda: page.locator("#state").inner_text() == "live")
        for _ in range(6):
            page.keyboard.down("Space")
            page.wait_for_timeout(100)
        page.keyboard.up("Space")
        assert bodies == ['{"paused":true}']
        page.get_by_role("button", name="Frozen").focus()
        for _ in range(6):
            page.keyboard.down("Enter")
            page.wait_for_timeout(100)
        page.keyboard.up("Enter")
        assert bodies == ['{"paused":true}', '{"paused":false}']


def test_chosen_classes_have_their_names_even_if_the_labels_come_late(browser, live):
    live.change(classes=[0])
    name = live.get("/api/labels")[0]
    with open_page(browser, live.url) as page:
        assert eventually(lambda: page.locator("#state").inner_text() == "live")
        paths = []
        page.on("request", lambda request: paths.append(request.url.split("/")[-1]))
        page.route("**/api/labels", lambda route: (page.wait_for_timeout(1000), route.continue_()))
        page.reload(wait_until="domcontentloaded")
        assert eventually(lambda: page.locator("#state").inner_text() == "live")
        assert page.locator("#chosen button").all_inner_texts() == [f"{name} ✕", "Follow the best"]
        assert [path for path in paths if path.startswith("stream")] == ["stream?camera=0&n=1"]


def test_every_control_has_a_name_for_a_screen_reader(browser, live):
    with open_page(browser, live.url) as page:
        assert eventually(lambda: page.locator("#top button").count() == 5)
        snapshot = page.locator("body").aria_snapshot()
        assert eventually(lambda: page.locator("#announcement").inner_text() in live.get("/api/labels"))
        assert page.locator("#announcement").get_attribute("aria-live") == "polite"
        assert "shown: " in page.locator("#image").get_attribute("alt")
    for control in ('slider "Opacity', 'slider "Threshold', 'combobox "Colours"', 'checkbox "Boxes"', 'button "Freeze"',
                    'searchbox "Search all 6 labels"', 'link "Snapshot"', 'link "API"', 'img "Frames per second',
                    'heading "Classes"', 'list "Best classes"'):  # fmt: skip
        assert control in snapshot
    for line in snapshot.splitlines():
        role = line.strip(" -").split()[0].rstrip(":")
        if role in ("button", "link", "slider", "combobox", "checkbox", "searchbox", "img"):
            assert '"' in line, line


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize(("width", "height"), [(390, 844), (844, 390), (1280, 800)])
def test_the_page_fits_the_screen_and_text_has_contrast(browser, live, scheme, width, height):
    live.change(classes=[0, 1, 2])
    with open_page(browser, live.url, viewport={"width": width, "height": height}, color_scheme=scheme) as page:
        assert eventually(lambda: shown_image(page).shape == (480, 1920, 3))
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width
        box = page.locator("#image").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        text, ground = page.evaluate(
            "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
            ".map(color => color.match(/\\d+/g).slice(0, 3).reduce((sum, part) => sum + +part, 0))"
        )
        assert (text > ground + 500) if scheme == "dark" else (ground > text + 500)


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


def test_the_api_page_describes_every_path_and_field(browser, live):
    with open_page(browser, f"{live.url}api") as page:
        paths = live.get("/openapi.json")["paths"]
        assert eventually(lambda: page.locator("h2 code").count() == len(paths) + 1)  # GET and PATCH of the settings
        text = page.locator("body").inner_text()
        for field in fields(DisplaySettings):
            assert field.metadata["help"] in text
