"""Hub between streams and their viewers: the newest item of each stream."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from camrt.errors import UsageError
from camrt.runtime.frames import Source, StreamItem
from camrt.runtime.inference.head_switch import HeadSwitch
from camrt.runtime.inference.model import Model
from camrt.runtime.maps.attention_drift import Attention
from camrt.runtime.render.display_settings import SettingsStore
from camrt.runtime.sources.names import short_names
from camrt.runtime.stream.rate import RateMeter

STALLED_S: Final = 5.0
"""A live source without a frame for this long has stalled, although it reports a signal."""

State = Literal["waiting", "live", "stalled", "lost", "ended"]


@dataclass(frozen=True, slots=True)
class CountedClass:
    """A class of a head."""

    head: str | None
    """Name of the head, in a model file with several."""
    number: int
    label: str


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """Numbers of one stream."""

    name: str
    """Name of the source, without credentials."""
    state: State
    """``waiting`` for the first frame, ``live``, ``stalled`` (no frame for a while, although the source reports a
    signal), ``lost`` (no signal), or ``ended``."""
    age_s: float | None
    """Seconds since the newest frame; None: there was none."""
    frames: int
    """Items with a result."""
    classified: int
    """Classified frames."""
    dropped: int
    """Frames of a live source that were dropped to stay live."""
    reconnects: int
    """Number of times the signal came back."""
    fps: Mapping[str, float]
    """Frames per second: ``drawn`` (items) and ``classified``."""
    stages_ms: Mapping[str, float]
    """Milliseconds of each stage for the newest frame."""
    classes: Mapping[CountedClass, int]
    """Number of classified frames by their best class."""
    attention: Attention | None
    """Attention against the audit's, of the newest frame; None: there is no reference."""


class HubStream:
    """The newest item of one stream, and its numbers; a listener of the stream's pipeline."""

    def __init__(
        self, source: Source, short_name: str, notify: Callable[[], None], is_paused: Callable[[], bool]
    ) -> None:
        self.name = source.name
        self.short_name = short_name
        """See `short_names`; unique among the streams of a hub."""
        self._notify = notify
        self._is_paused = is_paused
        self._lock = threading.Lock()
        self._newest: StreamItem | None = None
        self._counters = _Counters(live=source.live)

    def write(self, item: StreamItem, /) -> None:
        """Take the newest item. While the hub is paused the item is counted, and the shown one stays."""
        with self._lock:
            self._counters.add(item)
            kept = self._is_paused() and self._newest is not None
            if not kept:
                self._newest = item
        if not kept:
            self._notify()

    def close(self) -> None:
        """Mark the stream as ended; the last item stays visible."""
        with self._lock:
            self._counters.state = "ended"
        self._notify()

    def replace(self, shown: StreamItem, item: StreamItem) -> None:
        """Show ``item`` in the place of ``shown``, unless a newer one came; it is not counted."""
        with self._lock:
            if self._newest is not shown:
                return
            self._newest = item
        self._notify()

    @property
    def newest(self) -> StreamItem | None:
        """The item to show now; None: none came yet."""
        with self._lock:
            return self._newest

    def status(self) -> StreamStatus:
        """Return the numbers of the stream."""
        with self._lock:
            return self._counters.status(self.name)


@dataclass(slots=True)
class _Counters:
    """Counters of one stream."""

    live: bool
    state: State = "waiting"
    frames: int = 0
    dropped: int = 0
    reconnects: int = 0
    drawn: RateMeter = field(default_factory=RateMeter)
    classified: int = 0
    classified_rate: RateMeter = field(default_factory=RateMeter)
    classes: Counter[CountedClass] = field(default_factory=Counter)
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    newest_s: float | None = None
    last_index: int | None = None
    last_result: int | None = None
    attention: Attention | None = None

    def add(self, item: StreamItem) -> None:
        if item.result is None:
            self.state = "lost"
            return
        index = item.frame.index
        if self.state == "lost" and self.frames:
            self.reconnects += 1
        elif self.last_index is not None:  # a source counts dropped frames too
            self.dropped += max(0, index - self.last_index - 1)
        self.state, self.last_index, self.newest_s = "live", index, time.monotonic()
        self.frames += 1
        self.drawn.count()
        self.stages_ms = item.stages_ms
        if item.attention is not None:
            self.attention = item.attention
        if item.result_index != self.last_result:
            self.last_result = item.result_index
            self.classified += 1
            self.classified_rate.count()
            best = item.result.class_id
            self.classes[CountedClass(item.result.decoder.head, best, item.result.label(best))] += 1

    def status(self, name: str) -> StreamStatus:
        age_s = None if self.newest_s is None else time.monotonic() - self.newest_s
        stalled = self.live and self.state == "live" and age_s is not None and age_s > STALLED_S
        return StreamStatus(
            name=name,
            state="stalled" if stalled else self.state,
            age_s=age_s,
            frames=self.frames,
            classified=self.classified,
            dropped=self.dropped,
            reconnects=self.reconnects,
            fps={"drawn": self.drawn.rate() or 0.0, "classified": self.classified_rate.rate() or 0.0},
            stages_ms=dict(self.stages_ms),
            classes=dict(self.classes),
            attention=self.attention,
        )


class Hub:
    """All streams of one model, their display settings, and a shared pause."""

    def __init__(self, model: Model | HeadSwitch, settings: SettingsStore, sources: Sequence[Source]) -> None:
        """Make a place for each stream.

        Args:
            model: classifies the frames.
            settings: display settings, shared by all streams and viewers.
            sources: one for each stream.
        """
        self._switch = HeadSwitch(model) if isinstance(model, Model) else model
        self.settings = settings
        self._changed = threading.Condition()
        self._version = 0
        self._paused = False
        names = short_names([source.name for source in sources])
        self.streams = [
            HubStream(source, name, self.notify, lambda: self._paused)
            for source, name in zip(sources, names, strict=True)
        ]
        settings.subscribe(self.notify)

    @property
    def model(self) -> Model:
        """The model of the shown head."""
        return self._switch.model

    @property
    def paused(self) -> bool:
        """True: viewers keep the items of the moment of the pause; recorders go on."""
        return self._paused

    def pause(self, paused: bool) -> None:
        """Pause or resume all viewers."""
        self._paused = paused
        self.notify()

    def stream(self, number: int) -> HubStream:
        """Return a stream. Raises: UsageError: no stream has this number."""
        if not 0 <= number < len(self.streams):
            raise UsageError(f"no camera {number}; there are 0 to {len(self.streams) - 1}")
        return self.streams[number]

    def notify(self) -> None:
        """Wake all callers of `wait`, because there is a new item or setting."""
        with self._changed:
            self._version += 1
            self._changed.notify_all()

    def wait(self, seen: int, timeout_s: float) -> int:
        """Wait for a version after ``seen``, ``timeout_s`` at most; returns the newest version."""
        with self._changed:
            self._changed.wait_for(lambda: self._version != seen, timeout_s)
            return self._version
