"""A pipeline passes frames in order, or only the newest, and closes its source and sinks at every end."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from camrt.errors import SinkError, SourceError
from camrt.runtime.frames import Frame, StreamItem
from camrt.runtime.render.display_settings import DisplaySettings, SettingsStore
from camrt.runtime.render.renderer import Renderer
from camrt.runtime.stream.pipeline import Pipeline


class Numbers:
    """A source whose frames carry their number in every pixel."""

    name = "numbers"
    fps = None

    def __init__(self, count, *, live=False, period_s=0.0, fails_at=None):
        self.frame_count = count
        self.live = live
        self.problems = []
        self.closed = 0
        self._period_s = period_s
        self._fails_at = fails_at
        self._next = 0

    def read(self):
        index = self._next
        if index == self._fails_at:
            raise SourceError("the cable came off")
        if index == self.frame_count:
            return None
        self._next += 1
        time.sleep(self._period_s)
        return Frame(np.full((24, 32, 3), index % 256, np.uint8), index, index / 100, self.name)

    def close(self):
        self.closed += 1


class Collector:
    """A sink that records frames, results and images."""

    def __init__(self, *, slow_s=0.0, fails_at=None, fails_to_close=False):
        self.frames, self.results, self.images = [], [], []
        self.closed = 0
        self._slow_s = slow_s
        self._fails_at = fails_at
        self._fails_to_close = fails_to_close

    def write(self, rendered):
        if len(self.frames) == self._fails_at:
            raise SinkError("no space left")
        time.sleep(self._slow_s)
        self.frames.append(rendered.frame.index)
        self.results.append(rendered.item.result_index)
        self.images.append(rendered.image.copy())

    def close(self):
        self.closed += 1
        if self._fails_to_close:
            raise SinkError("cannot finish")


def pipeline(model, source, *recorders, hud=False, settings=None, **options):
    store = SettingsStore(settings or DisplaySettings())
    renderer = Renderer(hud=hud, provider="cpu", threads=2) if recorders else None
    return Pipeline(model, source, store, renderer=renderer, recorders=recorders, **options)


def test_a_file_is_drawn_frame_by_frame_in_order_each_with_its_own_map(model):
    source, sink = Numbers(40), Collector(slow_s=0.001)
    summary = pipeline(model, source, sink).run()
    assert sink.frames == sink.results == list(range(40))
    assert (summary.frames, summary.dropped, summary.stopped) == (40, 0, False)
    assert source.closed == sink.closed == 1


def test_sinks_get_the_result_drawn_over_the_frame(model):
    sink = Collector()
    pipeline(model, Numbers(3), sink).run()
    frame = np.full((24, 32, 3), 2, np.uint8)
    np.testing.assert_array_equal(sink.images[2], model(frame).draw(frame))


def test_selected_classes_are_drawn_side_by_side(model):
    sink = Collector()
    pipeline(model, Numbers(1), sink, settings=DisplaySettings(classes=(3, 0), normalize="minmax")).run()
    frame = np.zeros((24, 32, 3), np.uint8)
    result = model(frame)
    np.testing.assert_array_equal(sink.images[0], np.hstack([result.draw(frame, 3), result.draw(frame, 0)]))


def test_a_slow_sink_of_a_live_source_gets_the_newest_frames(model):
    sink = Collector(slow_s=0.05)
    summary = pipeline(model, Numbers(100, live=True, period_s=0.005), sink).run()
    assert sink.frames == sorted(set(sink.frames))
    assert 1 < len(sink.frames) < 60
    assert summary.dropped > 0
    assert sink.frames[-1] >= 90


def test_a_slow_model_still_shows_every_camera_frame_with_its_newest_map(model):
    class Slow:
        def __call__(self, frame):
            time.sleep(0.1)
            return model(frame)

    sink = Collector()
    pipeline(Slow(), Numbers(60, live=True, period_s=0.01), sink).run()
    assert len(sink.frames) > 30
    assert len(set(sink.results)) < 15
    assert all(result <= frame for frame, result in zip(sink.frames, sink.results, strict=True))


def test_live_frames_and_maps_come_in_order_and_no_map_is_newer_than_its_frame(model):
    """The order does not depend on how the threads take turns."""
    for _ in range(5):
        sink = Collector()
        pipeline(model, Numbers(600, live=True, period_s=0.0002), sink).run()
        assert all(result <= frame for frame, result in zip(sink.frames, sink.results, strict=True))
        assert sink.frames == sorted(set(sink.frames))
        assert sink.results == sorted(sink.results)


def test_with_sync_each_live_frame_has_its_own_map(model):
    sink = Collector()
    pipeline(model, Numbers(60, live=True, period_s=0.002), sink, every_camera_frame=False).run()
    assert sink.frames == sink.results
    assert sink.frames == sorted(set(sink.frames))


class Flickering(Numbers):
    """A live source without a signal from frame 20 to 39."""

    def read(self):
        frame = super().read()
        if frame is not None and 20 <= frame.index < 40:
            frame = replace(frame, lost="unplugged")
        return frame


@pytest.mark.parametrize("every_camera_frame", [True, False])
def test_frames_without_a_signal_are_shown_dark_and_not_classified(model, every_camera_frame):
    sink, items = Collector(), []
    source = Flickering(60, live=True, period_s=0.01)
    summary = pipeline(model, source, sink, every_camera_frame=every_camera_frame).run(items.append)
    lost = {item.frame.index for item in items if item.result is None}
    assert lost <= set(range(20, 40))
    assert len(lost) > 5
    assert max(item.frame.index for item in items if item.result is not None) > 50
    assert summary.frames == len(items) - len(lost)
    images = dict(zip(sink.frames, sink.images, strict=True))
    before, dark = (next(image for index, image in images.items() if index >= first) for first in (15, 21))
    assert np.median(dark) < np.median(before)


def test_a_camera_that_never_connects_is_shown_without_waiting_for_a_result(model):
    class Absent(Numbers):
        def read(self):
            frame = super().read()
            return None if frame is None else replace(frame, lost="there is no such host")

    items = []
    summary = pipeline(model, Absent(5, live=True, period_s=0.2)).run(items.append)
    assert summary.frames == 0
    assert [item.frame.index for item in items] == list(range(5))


def test_stop_ends_an_endless_source_and_closes_everything(model):
    source, sink = Numbers(-1, live=True, period_s=0.001), Collector()
    running = pipeline(model, source, sink)
    threading.Timer(0.3, running.stop).start()
    summary = running.run()
    assert summary.stopped
    assert source.closed == sink.closed == 1
    assert sink.frames


def test_a_source_that_fails_is_reported_and_every_sink_is_closed(model):
    first, second = Collector(), Collector(fails_to_close=True)
    with pytest.raises(SourceError, match="the cable came off"):
        pipeline(model, Numbers(50, fails_at=5), first, second).run()
    assert first.closed == second.closed == 1


def test_a_sink_that_fails_is_reported_and_the_others_are_closed(model):
    source, good, bad = Numbers(50), Collector(), Collector(fails_at=3, fails_to_close=True)
    with pytest.raises(SinkError, match="no space left"):
        pipeline(model, source, good, bad).run()
    assert good.closed == bad.closed == source.closed == 1
    assert good.frames[:4] == [0, 1, 2, 3]


def test_a_sink_that_cannot_finish_is_reported(model):
    with pytest.raises(SinkError, match="cannot finish"):
        pipeline(model, Numbers(2), Collector(fails_to_close=True)).run()


def test_no_thread_outlives_a_run(model):
    before = set(threading.enumerate())
    pipeline(model, Numbers(5), Collector()).run()
    assert set(threading.enumerate()) <= before


def test_a_watched_file_is_drawn_at_its_own_rate(model):
    sink = Collector()
    summary = pipeline(model, Numbers(21), sink, paced=True).run()
    assert summary.seconds >= 0.2
    assert len(sink.frames) == 21


def test_a_run_ends_after_a_number_of_frames(model):
    sink = Collector()
    summary = pipeline(model, Numbers(50), sink, frames=7).run()
    assert sink.frames == list(range(7))
    assert summary.frames == 7


def test_listeners_get_every_item_without_a_renderer(model):
    listener = Listener()
    pipeline(model, Numbers(5), listeners=[listener]).run()
    assert [item.frame.index for item in listener.items] == list(range(5))
    assert set(listener.items[0].stages_ms) == {"preprocess", "inference"}


def test_listeners_get_the_drawing_times_if_there_is_a_recorder(model):
    listener = Listener()
    pipeline(model, Numbers(3), Collector(), listeners=[listener]).run()
    assert set(listener.items[0].stages_ms) == {"preprocess", "inference", "cam", "overlay"}


class Listener:
    """A sink of items."""

    def __init__(self):
        self.items: list[StreamItem] = []

    def write(self, item):
        self.items.append(item)

    def close(self):
        pass
