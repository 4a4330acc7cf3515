"""The page for several cameras in a real Chromium: names, classes, times, states."""

import re
import threading

import pytest

from camrt.runtime.maps.attention_drift import Attention, ClassDrift
from camrt.runtime.stream import hub as hub_module
from support.chromium import chromium, open_page, shown_image
from support.desktop import eventually
from support.stream_items import classified, without_signal

pytestmark = pytest.mark.browser

DASH = "\N{EN DASH}"
STALLED = re.compile(r"stalled: no frame for [1-9]\d* s")
LONG_NAMES = (
    "/srv/recordings/of/the/north/entrance/second-floor/2024-11-27T15-09-33+0100-front.mp4",
    "rtsp://192.168.1.20:554/Streaming/Channels/101?transportmode=unicast&profile=Profile_1",
    "gst:v4l2src device=/dev/video0 ! videoconvert ! video/x-raw,format=BGR ! appsink",
)


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Let cameras stand still without being stalled, unless a test sets another time."""
    monkeypatch.setattr(hub_module, "STALLED_S", 3600.0)


def choose(page, name):
    page.locator("#cameras").get_by_role("button", name=name).click()


def stage_times(page):
    return dict(
        zip(page.locator("#stages dt").all_inner_texts(), page.locator("#stages .ms").all_inner_texts(), strict=True)
    )


def test_the_page_shows_all_cameras_and_each_alone(browser, model, hub, served):
    hub.streams[0].write(classified(model, 50, 0))
    hub.streams[1].write(without_signal(200, 0))
    with open_page(browser, served.url) as page:
        assert eventually(lambda: shown_image(page).shape == (480, 1280, 3))
        assert eventually(lambda: "no signal" in page.locator("#captions").inner_text())
        assert page.locator("#state").inner_text() == "1 of 2 live"
        saved = []
        page.on("download", lambda download: saved.append(download.url))
        page.keyboard.press("s")  # the mosaic has no snapshot, and no button for it
        page.wait_for_timeout(300)
        assert saved == []
        choose(page, "door")
        assert eventually(lambda: shown_image(page).shape == (48, 64, 3))
        assert page.locator("#state").inner_text() == "live"
        choose(page, "yard")
        assert eventually(lambda: page.locator("#state").inner_text() == "no signal")
        assert eventually(lambda: served.metric("camrt_viewers") == 1)


def test_attention_outside_the_audit_is_shown_and_hidden_without_a_reference(browser, model, hub, served):
    for stream in hub.streams:
        stream.write(classified(model, 50, 0))
    with open_page(browser, served.url, viewport={"width": 360, "height": 800}) as page:
        assert eventually(lambda: page.locator("#captions span").count() == 2)
        assert not page.locator("#attention").is_visible()
        inside = Attention(0.25, "entropy", False, [ClassDrift(0, model.labels[0], 0.5)])
        hub.streams[0].write(classified(model, 60, 1, attention=inside))
        assert eventually(lambda: page.locator("#attention").is_visible())
        rows = page.locator("#attention-rows li")
        assert eventually(
            lambda: rows.first.inner_text().split("\n") == ['the "door": within the audit\'s range', "0.25"]
        )
        assert rows.nth(1).inner_text().split("\n") == [model.labels[0], "0.50"]
        outside = Attention(1.5, "centre", True, inside.classes)
        hub.streams[0].write(classified(model, 70, 2, attention=outside, attention_changed=True))
        assert eventually(lambda: "outside the audit's range: share on the centre" in rows.first.inner_text())
        assert "outside" in rows.first.get_attribute("class")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("hub", [LONG_NAMES], indirect=True)
def test_long_names_and_labels_fit_a_phone(browser, model, hub, served):
    short = [stream.short_name for stream in hub.streams]
    for stream, level in zip(hub.streams, (0, 100, 255), strict=True):
        stream.write(classified(model, level, 0))
    hub.settings.update(classes=(0, 1, 2, 3))
    with open_page(browser, served.url, viewport={"width": 390, "height": 844}) as page:
        assert eventually(lambda: page.locator("#captions span").count() == 3)
        buttons = page.locator("#cameras button")
        assert buttons.all_inner_texts() == ["All", *short]
        assert [buttons.nth(number).get_attribute("title") for number in (1, 2, 3)] == list(LONG_NAMES)
        captions = page.locator("#captions span")
        assert eventually(lambda: captions.nth(2).inner_text().startswith(f"{short[2]}: "))
        assert captions.nth(2).get_attribute("title") == LONG_NAMES[2]
        page.get_by_role("searchbox").fill("a")
        for name in ("All", *short):
            choose(page, name)
            page.wait_for_timeout(600)  # longer than the time between two events
            for element in ("html", "#cameras", "#captions", "#top", "#chosen", "#hits", "#overlay", "#stages"):
                sizes = "element => [element.scrollWidth, element.clientWidth]"
                scroll_width, client_width = page.locator(element).evaluate(sizes)
                assert scroll_width <= client_width <= 390, (name, element)


def test_all_cameras_together_have_the_best_classes_and_the_class_choice(browser, model, hub, served):
    for stream, level in zip(hub.streams, (0, 255), strict=True):
        stream.write(classified(model, level, 0))
    best = {}
    for camera, stream in enumerate(hub.streams):
        for row in served.get(f"/api/result?camera={camera}")["top"]:
            if row["score"] > best.get(row["label"], (0.0, ""))[0]:
                best[row["label"]] = row["score"], stream.short_name.replace("\n", " ")
    expected = [
        (label, source, f"{score:.2f}") for label, (score, source) in sorted(best.items(), key=lambda item: -item[1][0])
    ]
    assert len({source for _, source, _ in expected}) == 2  # each camera is the best one for a class

    def rows(page):
        parts = (page.locator(f"#top .{name}").all_inner_texts() for name in ("label", "source", "score"))
        return list(zip(*parts, strict=False))  # rows may be added between two queries

    with open_page(browser, served.url) as page:
        assert eventually(lambda: rows(page) == expected)
        page.locator("#top button").nth(3).click()
        label = expected[3][0]
        number = model.labels.index(label)
        assert eventually(lambda: hub.settings.current.classes == (number,))
        assert page.locator("#chosen button").first.inner_text() == f"{label} ✕"
        captions = page.locator("#captions span")
        assert eventually(lambda: all(label in text for text in captions.all_inner_texts()))
        page.get_by_role("searchbox").fill("cup")
        page.locator("#hits button").click()
        assert eventually(lambda: hub.settings.current.classes == (number, model.labels.index("cup")))
        assert eventually(lambda: all("cup" in text for text in captions.all_inner_texts()))
        page.get_by_role("button", name="Follow the best").click()
        assert eventually(lambda: hub.settings.current.classes == ())


def test_stage_times_are_those_of_the_drawn_images(browser, model, hub, served):
    hub.streams[0].write(classified(model, 0, 0, stages_ms={"preprocess": 1.25, "inference": 8.0}))
    hub.streams[1].write(classified(model, 255, 0, stages_ms={"preprocess": 3.5, "inference": 2.0}))
    with open_page(browser, served.url) as page:
        assert eventually(
            lambda: page.locator("#stages .ms").count() and stage_times(page)["overlay"] not in ("", DASH)
        )
        times = stage_times(page)
        assert (times["preprocess"], times["inference"]) == ("3.5 ms", "8.0 ms")
        assert page.locator("#scope").inner_text() == "All cameras: longest time of each stage, sums of the rates"
        choose(page, "yard")
        assert eventually(lambda: stage_times(page)["inference"] == "2.0 ms")
        assert page.locator("#scope").inner_text() == ""
        assert eventually(lambda: stage_times(page)["overlay"].endswith(" ms"))
        # A scene cut: the frame is shown without a map.
        hub.streams[1].write(classified(model, 0, 1, stages_ms={"preprocess": 3.5, "inference": 2.5}, same_scene=False))
        assert eventually(lambda: stage_times(page)["inference"] == "2.5 ms")
        assert (stage_times(page)["cam"], stage_times(page)["overlay"]) == (DASH, DASH)
        hub.streams[1].write(without_signal(0, 1))
        assert eventually(lambda: set(stage_times(page).values()) == {DASH})


def test_a_stalled_camera_is_reported_alone_and_in_the_mosaic(browser, model, hub, served, monkeypatch):
    monkeypatch.setattr(hub_module, "STALLED_S", 1.0)
    stop = threading.Event()

    def feed():
        index = 0
        while not stop.wait(0.05):
            hub.streams[0].write(classified(model, 50, index))
            index += 1

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        hub.streams[1].write(classified(model, 200, 0))
        with open_page(browser, served.url) as page:
            state, captions = page.locator("#state"), page.locator("#captions span")
            assert eventually(lambda: state.inner_text() == "1 of 2 live")
            assert eventually(lambda: STALLED.search(captions.nth(1).inner_text()))
            assert "stalled" not in captions.nth(0).inner_text()
            choose(page, "yard")
            assert eventually(lambda: STALLED.fullmatch(state.inner_text()))
            first = state.inner_text()
            assert eventually(lambda: STALLED.fullmatch(state.inner_text()) and state.inner_text() != first)
            hub.streams[1].write(classified(model, 200, 1))
            assert eventually(lambda: state.inner_text() == "live")
            choose(page, "All")
            assert eventually(lambda: STALLED.search(captions.nth(1).inner_text()))
    finally:
        stop.set()
        thread.join()
