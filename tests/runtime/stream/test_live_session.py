"""Every consumer of a live session sees the same maps: recording, viewers, boxes, events and API."""

import threading
from itertools import pairwise

import numpy as np
import pytest

from camrt.errors import SourceError
from camrt.runtime.frames import Frame, StreamItem
from camrt.runtime.maps.overlay import OverlayStyle
from camrt.runtime.maps.refine_frame import refine_frame
from camrt.runtime.record import record
from camrt.runtime.render.display_settings import DisplaySettings
from camrt.runtime.stream.hub_viewer import HubViewer
from camrt.runtime.stream.live_session import LiveSession
from camrt.runtime.stream.pipeline import Summary
from support.sources import StillSource

GREY = {"colormap": "bone", "alpha": 1.0, "alpha_by_value": False}
SETTINGS = DisplaySettings(classes=(1,), normalize="running", smooth=0.2, boxes=True, **GREY)


class Recorder:
    """A sink of overlays."""

    def __init__(self):
        self.images: list[np.ndarray] = []
        self.items: list[StreamItem] = []

    def write(self, rendered):
        self.images.append(rendered.image.copy())
        self.items.append(rendered.item)

    def close(self):
        pass


def lively_then_dull(count=20):
    """Return images with a bright spot, then one with little contrast. The change is too small for a scene cut."""
    lively = np.full((24, 32, 3), 100, np.uint8)
    lively[8:16, 12:24] = 200
    dull = (lively // 16 + 95).astype(np.uint8)
    return [lively] * (count - 1) + [dull]


def record_session(model, images, settings=SETTINGS):
    """Run a session over a file. Return the recorder, and the session, whose hub holds the last item."""
    recorder = Recorder()
    source = StillSource(count=len(images), live=False, images=images)
    session = LiveSession(model, [source], settings=settings, recorders=[[recorder]], hud=False)
    (summary,) = session.run()
    assert isinstance(summary, Summary)
    assert summary.frames == len(images)
    return recorder, session


def viewer_image(session):
    viewer = HubViewer(session.hub, hud=False)
    return viewer.draw(0).image.copy()


def test_a_late_viewer_sees_the_pixels_of_the_recording(model):
    recorder, session = record_session(model, lively_then_dull())
    np.testing.assert_array_equal(viewer_image(session), recorder.images[-1])


def test_an_empty_scene_stays_cold_for_the_first_viewer(model):
    images = lively_then_dull()
    _, session = record_session(
        model,
        images,
        DisplaySettings(classes=(1,), normalize="running", **GREY),
    )
    alone = model(images[-1]).draw(images[-1], 1, style=OverlayStyle(**GREY))
    assert np.ptp(alone) == 255
    assert np.ptp(viewer_image(session)) < 0.7 * np.ptp(alone)


def test_boxes_and_events_belong_to_the_drawn_map(model):
    """With a long half-life the drawn map differs much from the map of the newest frame."""
    images = [np.roll(lively_then_dull()[0], shift, axis=1) for shift in (0, 0, 0, 12)]
    recorder, session = record_session(model, images, DisplaySettings(classes=(1,), smooth=5.0, boxes=True))
    item = session.hub.streams[0].newest
    raw = model(images[-1])
    assert np.abs(item.result.cam(1) - raw.cam(1)).max() > 0.1 * np.ptp(raw.cam(1))
    assert [box[4] for box in record(item)["boxes"]] == [
        pytest.approx(box[4], abs=1e-6) for box in item.result.boxes(1)
    ]
    assert [tuple(box[:4]) for box in record(item)["boxes"]] == [box[:4] for box in item.boxes_of(1)]
    difference = recorder.images[-1].astype(int) - item.result.draw(images[-1], 1).astype(int)
    for x0, y0, x1, y1 in (box[:4] for box in item.boxes_of(1)):
        difference[max(0, y0 - 3) : y1 + 3, max(0, x0 - 3) : x1 + 3] = 0
    assert not difference.any()  # the recording has the filtered map and the boxes, nothing else


def moving_spot(count=12):
    """Return images with a bright spot that moves to the right, two pixels a frame."""
    images = []
    for number in range(count):
        image = np.full((48, 64, 3), 60, np.uint8)
        image[16:32, 2 * number : 2 * number + 16] = 220
        images.append(image)
    return images


def test_a_box_keeps_its_identity_and_every_consumer_has_the_same_boxes(model):
    images = moving_spot()
    heard = []
    source = StillSource(count=len(images), live=False, images=images)
    settings = DisplaySettings(classes=(1, 2), smooth=0.1, boxes=True)
    recorder = Recorder()
    session = LiveSession(model, [source], settings=settings, recorders=[[recorder]], hud=False)
    session.run(lambda number, item: heard.append(item))
    records = [record(item) for item in heard]
    assert all(len(one["box_ids"]) == len(one["boxes"]) > 0 for one in records)
    assert all(len(set(one["box_ids"])) == len(one["box_ids"]) for one in records)
    kept = [set(one["box_ids"]) & set(before["box_ids"]) for before, one in pairwise(records)]
    assert all(kept)  # the object moves slowly: in each frame a box has the identity that it had before
    counts = [one["objects"] for one in records]
    assert counts == sorted(counts)
    assert max(max(one["box_ids"]) for one in records) <= counts[-1] < sum(len(one["boxes"]) for one in records)
    shown = session.hub.streams[0].newest
    assert record(shown) == records[-1]
    assert record(shown, (2,))["box_ids"] == [box.number for box in shown.tracks[2]]
    np.testing.assert_array_equal(viewer_image(session), recorder.images[-1])


def test_streams_count_their_own_objects(model):
    images = moving_spot(4)
    sources = [StillSource(name, len(images), live=False, images=images) for name in ("left", "right")]
    session = LiveSession(model, sources, settings=DisplaySettings(classes=(1,), boxes=True))
    session.run()
    left, right = (record(stream.newest) for stream in session.hub.streams)
    assert left["box_ids"] == right["box_ids"]
    assert left["objects"] == right["objects"] > 0


def test_a_scene_cut_gives_new_identities(model):
    dark, bright = moving_spot(1)[0], np.full((48, 64, 3), 255, np.uint8)
    bright[16:32, 0:16] = 90
    recorder, _ = record_session(model, [dark, dark, bright], DisplaySettings(classes=(1,), boxes=True))
    first, second, third = (set(record(item)["box_ids"]) for item in recorder.items)
    assert first == second
    assert third
    assert not third & second


def test_without_boxes_there_are_no_identities(model):
    recorder, _ = record_session(model, moving_spot(2), DisplaySettings(classes=(1,)))
    assert [(record(item)["box_ids"], record(item)["objects"]) for item in recorder.items] == [([], 0)] * 2
    assert record(recorder.items[0])["boxes"]


@pytest.mark.parametrize("refine", ["clamp", "pc1,ivr", "clamp,flip"])
def test_recording_viewer_and_events_have_the_refined_map(model, refine):
    images = moving_spot(3)
    settings = DisplaySettings(classes=(1,), refine=refine, boxes=True)
    recorder, session = record_session(model, images, settings)
    plain, _ = record_session(model, images, DisplaySettings(classes=(1,), boxes=True))
    assert (recorder.images[-1] != plain.images[-1]).any()
    np.testing.assert_array_equal(viewer_image(session), recorder.images[-1])
    expected = refine_frame(model, images[-1], settings.refinements)
    np.testing.assert_array_equal(recorder.items[-1].result.visible_cam(1), expected.visible_cam(1))
    assert [tuple(box[:4]) for box in record(recorder.items[-1])["boxes"]] == [box[:4] for box in expected.boxes(1)]


def test_a_standing_image_follows_another_refinement(model):
    _, session = record_session(model, moving_spot(2), DisplaySettings(classes=(1,)))
    shown = session.hub.streams[0].newest
    session.settings.update(refine="clamp,flip")
    refined = session.hub.streams[0].newest
    expected = refine_frame(model, shown.frame.image, ("clamp", "flip"))
    np.testing.assert_array_equal(refined.result.visible_cam(1), expected.visible_cam(1))
    session.settings.update(refine="none")
    np.testing.assert_array_equal(session.hub.streams[0].newest.result.visible_cam(1), shown.result.visible_cam(1))


def test_the_filter_sees_every_result_without_a_viewer_or_recorder(model):
    images = lively_then_dull()
    recorder, _ = record_session(model, images)
    session = LiveSession(model, [StillSource(count=len(images), live=False, images=images)], settings=SETTINGS)
    session.run()
    np.testing.assert_array_equal(viewer_image(session), recorder.images[-1])


def test_after_a_scene_cut_no_consumer_draws_the_old_map(model):
    """The model is slow, so for some frames the newest map belongs to the old scene."""
    release = threading.Event()
    first = np.full((24, 32, 3), 40, np.uint8)
    second = np.full((24, 32, 3), 220, np.uint8)

    class CutSource(StillSource):
        def read(self):
            frame = super().read()
            if frame is None:
                return None
            return Frame(first if frame.index < 10 else second, frame.index, frame.time_s, frame.name)

    def slow(image):
        if image[0, 0, 0] == 220:
            release.wait(10)
        return model(image)

    slow.info, slow.provider, slow.spare_threads = model.info, "cpu", 1
    slow.heads, slow.head_name, slow.labels_of, slow.remarks = (), None, model.labels_of, ()
    recorder, events = Recorder(), []
    source = CutSource(count=40, period_s=0.02)
    session = LiveSession(slow, [source], settings=DisplaySettings(), recorders=[[recorder]], hud=False)

    def on_item(number, item):
        events.append(record(item))
        if item.frame.index > 30:
            release.set()

    session.run(on_item)
    stale = [number for number, event in enumerate(events) if event["frame"] >= 10 > event["result_frame"]]
    assert stale
    for number in stale:
        np.testing.assert_array_equal(recorder.images[number], second)
        assert events[number]["boxes"] == []
    assert events[-1]["result_frame"] >= 10


def test_a_change_of_settings_reaches_recording_and_viewer(model):
    recorder = Recorder()
    source = StillSource(count=30, live=False, images=lively_then_dull(2))
    session = LiveSession(model, [source], settings=SETTINGS, recorders=[[recorder]], hud=False)

    def on_item(number, item):
        if item.frame.index == 14:
            session.settings.update(alpha=0.0, boxes=False)

    session.run(on_item)
    assert (recorder.images[14] != recorder.items[14].frame.image).any()
    np.testing.assert_array_equal(recorder.images[15], recorder.items[15].frame.image)
    np.testing.assert_array_equal(viewer_image(session), recorder.images[-1])


def test_a_source_that_fails_does_not_stop_the_others(model):
    class Broken(StillSource):
        def read(self):
            raise SourceError("the cable came off")

    failures, numbers = [], []
    session = LiveSession(model, [StillSource("a", 5, live=False), Broken("b"), StillSource("c", 9, live=False)])
    outcomes = session.run(
        lambda number, item: numbers.append(number),
        on_failure=lambda number, error: failures.append((number, str(error))),
    )
    assert failures == [(1, "the cable came off")]
    assert [numbers.count(number) for number in range(3)] == [5, 0, 9]
    assert [type(outcome) for outcome in outcomes] == [Summary, SourceError, Summary]


def test_stop_ends_a_session_from_another_thread(model):
    session = LiveSession(model, [StillSource(period_s=0.001)])
    threading.Timer(0.3, session.stop).start()
    (summary,) = session.run()
    assert summary.stopped


def test_a_pause_holds_a_watched_file_and_a_stop_ends_the_pause(model):
    source = StillSource(count=500, live=False)
    source.fps = 100.0
    session = LiveSession(model, [source], watched=True)
    numbers = []

    def on_item(number, item):
        numbers.append(item.frame.index)
        if item.frame.index == 3:
            session.hub.pause(True)
            threading.Timer(0.3, session.stop).start()

    (summary,) = session.run(on_item)
    assert summary.stopped
    assert numbers == [0, 1, 2, 3]


def test_during_a_pause_the_newest_item_stays_and_items_are_counted(model):
    session = LiveSession(model, [StillSource(count=20, period_s=0.01)])

    def on_item(number, item):
        if not session.hub.paused:
            session.hub.pause(True)

    session.run(on_item)
    stream = session.hub.streams[0]
    assert stream.newest.frame.index == 0
    assert stream.status().frames > 5
