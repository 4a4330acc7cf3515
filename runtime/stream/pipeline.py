"""Pipeline of one stream: source, inference and sinks side by side, each in a thread of its own.

    source --queue--> inference, temporal filter --queue--> stream items (the calling thread) --> sinks

The queues of a live source keep only the newest frame; those of any other source keep every frame, in order.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from camrt.images import Image
from camrt.runtime.frames import Frame, Rendered, Sink, Source, StreamItem
from camrt.runtime.maps.attention_drift import Attention, DriftMonitor
from camrt.runtime.maps.attention_reference import AttentionReference
from camrt.runtime.maps.box_tracks import BoxTracker, TrackedBox
from camrt.runtime.maps.refine_frame import refine_frame
from camrt.runtime.maps.result import Result
from camrt.runtime.maps.temporal_filter import SceneDetector, TemporalFilter
from camrt.runtime.render.display_settings import DisplaySettings, SettingsStore
from camrt.runtime.render.renderer import Renderer, compared_classes, shown_classes
from camrt.runtime.stream.bounded_queue import BoundedQueue, Closed
from camrt.runtime.stream.rate import RateMeter

# Frames between two stages when none may be dropped: enough to even out a slow frame now and then.
_DEPTH = 2
# Time between two checks of the stop flag while no frame comes.
_POLL_S = 0.1
# A paced file that is later than this was paused: it continues from there without catching up.
_LATE_S = 0.5
# A read that does not end after its source was closed is abandoned: its thread is a daemon.
_JOIN_S = 2.0


@dataclass(frozen=True, slots=True)
class Summary:
    """Outcome of a run."""

    frames: int
    """Items with a result that the sinks took; frames without a signal are not counted."""
    dropped: int
    """Frames of a live source that were dropped to stay live."""
    seconds: float
    stopped: bool
    """True: ended by `Pipeline.stop`, not by the end of the source."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A frame and the number of its scene."""

    frame: Frame
    scene: int


@dataclass(frozen=True, slots=True)
class _Inferred:
    """A classified frame with its filtered maps."""

    seen: _Seen
    result: Result | None
    """None: the source is lost."""
    value_range: tuple[float, float] | None = None
    tracks: Mapping[int, tuple[TrackedBox, ...]] = field(default_factory=dict)
    objects: int = 0
    attention: Attention | None = None


class Pipeline:
    """Runs one source through a model into sinks, until the source ends, something fails, or `stop` is called.

    Args:
        model: classifies a frame: a `Model`, or one that several pipelines share.
        source: gives frames; closed at the end.
        settings: display settings; read once for each frame.
        renderer: draws for the recorders. None: there are no recorders.
        recorders: take the drawn overlays, in this order; closed at the end, whatever happens.
        listeners: take the items without an image, after the recorders; closed at the end, whatever happens.
        every_camera_frame: for live sources: emit each frame of the camera with the newest map, so that a slow model
            still gives a smooth image; False emits only classified frames, each with its own map.
        paced: emit a file's frames at its frame rate, for someone who watches.
        frames: stop after this many items with a result; None: no limit.
        reference: attention of an audit, with which the maps are compared; None: they are not.
    """

    def __init__(
        self,
        model: Callable[[Image], Result],
        source: Source,
        settings: SettingsStore,
        *,
        renderer: Renderer | None = None,
        recorders: Sequence[Sink[Rendered]] = (),
        listeners: Sequence[Sink[StreamItem]] = (),
        every_camera_frame: bool = True,
        paced: bool = False,
        frames: int | None = None,
        reference: AttentionReference | None = None,
    ) -> None:
        self._model = model
        self._source = source
        self._settings = settings
        self._renderer = renderer
        self._recorders = recorders
        self._listeners = listeners
        self._paced = paced and not source.live
        self._limit = frames
        live = source.live
        self._scenes = SceneDetector()
        self._filter = TemporalFilter()
        self._tracker = BoxTracker()
        self._drift = None if reference is None else DriftMonitor(reference)
        self._to_infer: BoundedQueue[_Seen] = BoundedQueue(1 if live else _DEPTH, drop_oldest=live)
        self._to_emit: BoundedQueue[_Inferred] = BoundedQueue(1 if live else _DEPTH, drop_oldest=live)
        shown_apart = live and every_camera_frame
        self._to_show: BoundedQueue[_Seen] | None = BoundedQueue(1, drop_oldest=True) if shown_apart else None
        self._rate = RateMeter()
        self._stop = threading.Event()
        self._errors: list[BaseException] = []
        self._dropped = 0

    def stop(self) -> None:
        """End the run soon; may be called from any thread or a signal handler, and more than once."""
        self._stop.set()

    def run(self, on_item: Callable[[StreamItem], None] | None = None) -> Summary:
        """Run until the end. The recorders and listeners are called in this thread.

        Args:
            on_item: called after the sinks have taken an item.

        Raises:
            CamrtError: the first failure, after every sink was closed.
        """
        start = time.perf_counter()
        threads = [
            threading.Thread(target=self._guard, args=(work,), name=f"camrt-{name}", daemon=True)
            for name, work in (("source", self._read), ("inference", self._infer))
        ]
        frames = 0
        try:
            for thread in threads:
                thread.start()
            frames = self._emit_all(on_item)
        except BaseException as error:  # noqa: BLE001 - kept and raised when everything is closed
            self._errors.append(error)
        finally:
            stopped = self._stop.is_set()
            self._close(threads)
        if self._errors:
            raise self._errors[0]
        return Summary(frames, self._dropped, time.perf_counter() - start, stopped)

    def _guard(self, work: Callable[[], None]) -> None:
        """Run one stage in its thread; its error ends the run."""
        try:
            work()
        except Closed:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again by `run`, in the caller's thread
            self._errors.append(error)
            self._stop.set()

    def _read(self) -> None:
        try:
            while not self._stop.is_set():
                frame = self._source.read()
                if frame is None:
                    break
                if frame.lost:
                    self._scenes.interrupt()
                    seen = _Seen(frame, -1)
                else:
                    seen = _Seen(frame, self._scenes.observe(frame.image))
                if self._to_show is not None:
                    self._to_show.put(seen)
                if self._to_show is None or not frame.lost:
                    self._to_infer.put(seen)
        finally:
            self._to_infer.close()
            if self._to_show is not None:
                self._to_show.close()

    def _infer(self) -> None:
        try:
            while True:
                seen = self._to_infer.get()
                if seen is not None:
                    lost = _Inferred(seen, None, objects=self._tracker.objects)
                    self._to_emit.put(lost if seen.frame.lost else self._classify(seen))
        finally:
            self._to_emit.close()

    def _classify(self, seen: _Seen) -> _Inferred:
        """Classify a frame and filter its maps over time."""
        settings = self._settings.current
        time_s = seen.frame.time_s
        result = refine_frame(self._model, seen.frame.image, settings.refinements)
        attention = None if self._drift is None else self._drift.observe(result, time_s)
        result = self._filter.smooth(result, seen.scene, time_s, settings.smooth)
        tracks = self._track(result, seen, settings)
        value_range = None
        if settings.normalize == "running" or settings.smooth > 0.0:
            cams = result.visible_cams(compared_classes(result, settings))
            value_range = self._filter.update_range(cams, time_s)
        return _Inferred(seen, result, value_range, tracks, self._tracker.objects, attention)

    def _track(self, result: Result, seen: _Seen, settings: DisplaySettings) -> Mapping[int, tuple[TrackedBox, ...]]:
        """Follow the boxes of the drawn classes; those of image files have nothing to do with each other."""
        if not settings.boxes or seen.frame.file is not None:
            return {}
        scene = seen.scene, result.decoder.head
        return {
            number: self._tracker.follow(number, result.boxes(number), scene, seen.frame.time_s, settings.smooth)
            for number in shown_classes(result, settings)
        }

    def _emit_all(self, on_item: Callable[[StreamItem], None] | None) -> int:
        """Pair frames with results and give them to the sinks; returns the number of items with a result."""
        emitted = 0
        newest: _Inferred | None = None
        last = -1  # number of the last frame that was emitted
        outside = False  # the attention of the last item
        lost_at = -1  # a result from before the signal was lost does not belong to the frames after it
        shift_s: float | None = None  # from a frame's time to the clock's
        while not self._stop.is_set() and emitted != self._limit:
            try:
                if self._to_show is None:
                    newest = self._to_emit.get(_POLL_S)
                    seen = None if newest is None else newest.seen
                else:
                    seen = self._to_show.get(_POLL_S)
                    if seen is not None and not seen.frame.lost:
                        stale = newest is not None and newest.seen.frame.index < lost_at
                        newest = self._newest(None if stale else newest)
            except Closed:
                break
            if seen is None:
                continue
            if seen.frame.lost:
                lost_at = seen.frame.index
                objects = 0 if newest is None else newest.objects
                self._emit(StreamItem(seen.frame, None, seen.frame.index, objects=objects), on_item)
                continue
            if newest is None or newest.result is None or newest.seen.frame.index < lost_at:
                continue
            if newest.seen.frame.index > seen.frame.index:  # the result overtook the frame: this thread had no core
                seen = newest.seen
            if seen.frame.index <= last or seen.frame.image.shape != newest.seen.frame.image.shape:
                continue
            if self._paced:
                now_s = time.perf_counter()
                if shift_s is None or now_s - seen.frame.time_s - shift_s > _LATE_S:
                    shift_s = now_s - seen.frame.time_s
                self._stop.wait(max(0.0, seen.frame.time_s + shift_s - now_s))
            self._rate.count()
            item = StreamItem(
                seen.frame,
                newest.result,
                newest.seen.frame.index,
                classes=shown_classes(newest.result, self._settings.current),
                value_range=newest.value_range,
                tracks=newest.tracks,
                objects=newest.objects,
                same_scene=seen.scene == newest.seen.scene,
                fps=self._rate.rate(),
                stages_ms=newest.result.stages_ms,
                attention=newest.attention,
                # A result may be dropped, so two items that follow each other are compared.
                attention_changed=newest.attention is not None and newest.attention.outside != outside,
            )
            outside = newest.attention is not None and newest.attention.outside
            last = seen.frame.index
            emitted += 1
            self._emit(item, on_item)
        return emitted

    def _emit(self, item: StreamItem, on_item: Callable[[StreamItem], None] | None) -> None:
        if self._renderer is not None:
            rendered = self._renderer.render(item, self._settings.current)
            for recorder in self._recorders:
                recorder.write(rendered)
            item = rendered.item  # with the times of drawing
        for listener in self._listeners:
            listener.write(item)
        if on_item is not None:
            on_item(item)

    def _newest(self, held: _Inferred | None) -> _Inferred | None:
        """Return the newest result; waits only for the very first one, and for the first one after a loss."""
        try:
            newest = self._to_emit.get(0.0) or held
            while newest is None and not self._stop.is_set():
                newest = self._to_emit.get(_POLL_S)
        except Closed:
            return held
        return newest

    def _close(self, threads: Sequence[threading.Thread]) -> None:
        self._stop.set()
        for queue in (self._to_infer, self._to_emit, self._to_show):
            if queue is not None:
                queue.close(discard=True)
                if queue is not self._to_emit:
                    self._dropped = max(self._dropped, queue.dropped)
        closers = [self._source.close]
        closers += [recorder.close for recorder in self._recorders]
        closers += [listener.close for listener in self._listeners]
        for close in closers:
            try:
                close()
            except BaseException as error:  # noqa: BLE001 - the others are still to be closed
                self._errors.append(error)
        for thread in threads:
            thread.join(_JOIN_S)
