"""The page of ``camrt live --serve`` in a real Chromium: images, numbers and controls."""

from dataclasses import fields

import cv2
import numpy as np
import pytest

import camrt
from camrt.runtime.render.display_settings import DisplaySettings
from support.chromium import open_page, shown_image, shows
from support.desktop import eventually
from support.overlays import draw_shared
from support.serving import DEMO, jpegs, serving
from support.tiny_models import HEADS, SIZES, write_two_heads

pytestmark = pytest.mark.browser


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
    results = {name: camrt.load(path, "cpu", head=name)(frame) for name in HEADS}

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
    labels = camrt.load(DEMO, "cpu").labels
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


def test_the_api_page_describes_every_path_and_field(browser, live):
    with open_page(browser, f"{live.url}api") as page:
        paths = live.get("/openapi.json")["paths"]
        assert eventually(lambda: page.locator("h2 code").count() == len(paths) + 1)  # GET and PATCH of the settings
        text = page.locator("body").inner_text()
        for field in fields(DisplaySettings):
            assert field.metadata["help"] in text
