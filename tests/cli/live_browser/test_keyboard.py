"""The page of ``camrt live --serve`` in Chromium: keyboard, focus, screen readers and sizes of screens."""

import pytest

import camrt
from support.chromium import open_page, shown_image, shows
from support.desktop import eventually
from support.overlays import draw_shared
from support.serving import DEMO

pytestmark = pytest.mark.browser


def test_the_keyboard_reaches_every_control(browser, still, frame, result):
    labels = camrt.load(DEMO, "cpu").labels
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
