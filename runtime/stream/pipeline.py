"""The way of a frame: source, inference and drawing side by side, each in a thread of its own.

    source --BoundedQueue--> inference --BoundedQueue--> drawing (the calling thread) --> sinks

A live source hands over the newest frame only; any other hands over every frame, in order.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from camrt.images import Image
from camrt.runtime.frames import Frame, Rendered, Sink, Source
from camrt.runtime.maps.result import Result
from camrt.runtime.render.renderer import Renderer
from camrt.runtime.stream.bounded_queue import BoundedQueue, Closed

# Frames that wait between two stages when none may be lost: enough to even out a slow one now and then.
_DEPTH = 2
# How long the drawing thread waits before it looks whether it was asked to stop.
_PATIENCE_S = 0.1
# A watched file that is later than this was paused: it goes on from there, and does not rush to catch up.
_LATE_S = 0.5
# A read that does not end after its source was closed is left behind: the thread is a daemon.
_JOIN_S = 2.0


@dataclass(frozen=True, slots=True)
class Summary:
    """What came of a run."""

    frames: int
    """Frames that were drawn and given to the sinks; what was shown while there was no signal is not counted."""
    dropped: int
    """Frames of a live source that nobody had time for."""
    seconds: float
    stopped: bool
    """True: ended by `Pipeline.stop`, not by the end of the source."""


@dataclass(frozen=True, slots=True)
class _Inferred:
    frame: Frame
    result: Result | None
    """None: the frame says that the source is lost."""


class Pipeline:
    """Runs one source through a model into sinks, until the source ends, something fails or `stop` is called.

    Args:
        model: classifies a frame; a `Model`, or one that several pipelines share.
        source: gives frames; closed at the end.
        renderer: draws; closed at the end.
        sinks: take the finished pictures, in this order; all are closed at the end, whatever happens.
        every_camera_frame: for live sources: draw each frame of the camera with the newest map, so that a slow model
            still gives a smooth picture; False draws only the frames that were classified, each with its own map.
        paced: draw a file's frames at its frame rate, for someone who watches.
    """

    def __init__(
        self,
        model: Callable[[Image], Result],
        source: Source,
        renderer: Renderer,
        sinks: Sequence[Sink],
        *,
        every_camera_frame: bool = True,
        paced: bool = False,
    ) -> None:
        self._model = model
        self._source = source
        self._renderer = renderer
        self._sinks = sinks
        self._paced = paced and not source.live
        live = source.live
        self._to_infer: BoundedQueue[Frame] = BoundedQueue(1 if live else _DEPTH, drop_oldest=live)
        self._to_draw: BoundedQueue[_Inferred] = BoundedQueue(1 if live else _DEPTH, drop_oldest=live)
        self._to_show: BoundedQueue[Frame] | None = (
            BoundedQueue(1, drop_oldest=True) if live and every_camera_frame else None
        )
        self._stop = threading.Event()
        self._errors: list[BaseException] = []
        self._dropped = 0

    def stop(self) -> None:
        """End the run soon; may be called from any thread or a signal handler, and more than once."""
        self._stop.set()

    def run(
        self,
        on_frame: Callable[[Rendered], None] | None = None,
        on_silence: Callable[[], None] | None = None,
    ) -> Summary:
        """Run in this thread until the end.

        Args:
            on_frame: called after the sinks have taken a picture.
            on_silence: called again and again while none comes, some times a second.

        Raises:
            CamrtError: the first thing that failed, after every sink was closed.
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
            frames = self._draw(on_frame, on_silence)
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
                if self._to_show is not None:
                    self._to_show.put(frame)
                if self._to_show is None or not frame.lost:
                    self._to_infer.put(frame)
        finally:
            self._to_infer.close()
            if self._to_show is not None:
                self._to_show.close()

    def _infer(self) -> None:
        try:
            while True:
                frame = self._to_infer.get()
                if frame is not None:
                    self._to_draw.put(_Inferred(frame, None if frame.lost else self._model(frame.image)))
        finally:
            self._to_draw.close()

    def _draw(self, on_frame: Callable[[Rendered], None] | None, on_silence: Callable[[], None] | None) -> int:
        frames = 0
        newest: _Inferred | None = None
        shown = -1  # number of the last frame that was drawn
        lost_at = -1  # what was seen before the signal was lost says nothing about what came back
        shift_s: float | None = None  # from a frame's time to the clock's
        while not self._stop.is_set():
            try:
                if self._to_show is None:
                    newest = self._to_draw.get(_PATIENCE_S)
                    frame = None if newest is None else newest.frame
                else:
                    frame = self._to_show.get(_PATIENCE_S)
                    if frame is not None and not frame.lost:
                        newest = self._newest(newest)
            except Closed:
                break
            if frame is None:
                if on_silence is not None:
                    on_silence()
                continue
            if frame.lost:
                lost_at = frame.index
                self._give(self._renderer.render_lost(frame), on_frame)
                continue
            if newest is None or newest.result is None or newest.frame.index < lost_at:
                continue
            if newest.frame.index > frame.index:  # it was overtaken while this thread waited for a core
                frame = newest.frame
            if frame.index <= shown:
                continue
            if frame.image.shape != newest.frame.image.shape:
                continue
            if self._paced:
                now_s = time.perf_counter()
                if shift_s is None or now_s - frame.time_s - shift_s > _LATE_S:
                    shift_s = now_s - frame.time_s
                self._stop.wait(max(0.0, frame.time_s + shift_s - now_s))
            self._give(self._renderer.render(frame, newest.result, newest.frame.index), on_frame)
            shown = frame.index
            frames += 1
        return frames

    def _give(self, rendered: Rendered, on_frame: Callable[[Rendered], None] | None) -> None:
        for sink in self._sinks:
            sink.write(rendered)
        if on_frame is not None:
            on_frame(rendered)

    def _newest(self, held: _Inferred | None) -> _Inferred | None:
        """Return the newest result; waits only for the very first one."""
        try:
            newest = self._to_draw.get(0.0) or held
            while newest is None and not self._stop.is_set():
                newest = self._to_draw.get(_PATIENCE_S)
        except Closed:
            return held
        return newest

    def _close(self, threads: Sequence[threading.Thread]) -> None:
        self._stop.set()
        for handover in (self._to_infer, self._to_draw, self._to_show):
            if handover is not None:
                handover.close(discard=True)
                if handover is not self._to_draw:
                    self._dropped = max(self._dropped, handover.dropped)
        closers: list[Callable[[], None]] = [self._source.close, *(sink.close for sink in self._sinks)]
        for close in [*closers, self._renderer.close]:
            try:
                close()
            except BaseException as error:  # noqa: BLE001 - every other one is still to be closed
                self._errors.append(error)
        for thread in threads:
            thread.join(_JOIN_S)
