"""Between the pipelines and whoever watches: the newest of each camera."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeVar

from camrt.errors import UsageError
from camrt.runtime.frames import Rendered
from camrt.runtime.inference.model import Model
from camrt.runtime.render.display_settings import View
from camrt.runtime.render.renderer import Renderer

_SPEED_WINDOW: Final = 30
_OLD_S: Final = 2.0
"""A rate is told only while frames come: one that is older says nothing of now."""

T = TypeVar("T")
State = Literal["waiting", "live", "lost", "ended"]


@dataclass(frozen=True, slots=True)
class Numbers:
    """What there is to say of a camera."""

    name: str
    """Without credentials."""
    state: State
    """``waiting`` for the first frame, ``live``, ``lost`` (no signal), or ``ended``."""
    age_s: float | None
    """Seconds since the newest frame was drawn; None: there was none."""
    frames: int
    """Frames that were drawn."""
    classified: int
    dropped: int
    """Frames of a live source that nobody had time for."""
    reconnects: int
    """How often the signal came back."""
    fps: Mapping[str, float]
    """Frames per second: ``drawn`` and ``classified``."""
    stages_ms: Mapping[str, float]
    """Milliseconds of each stage for the newest frame."""
    classes: Mapping[int, int]
    """How many classified frames had which class as their best."""


class Camera:
    """The newest of one camera; a `Sink` of its pipeline. Takes no picture: it is drawn again when somebody looks."""

    def __init__(self, name: str, model: Model, view: View, tell: Callable[[], None]) -> None:
        self.name = name
        self._view = view
        self._tell = tell
        self._renderer = Renderer(view, hud=False, provider=None, threads=1)
        self._drawing = threading.Lock()  # the renderer has one buffer
        self._lock = threading.Lock()  # guards what follows
        self._shown: Rendered | None = None
        self._tally = _Tally()

    def write(self, rendered: Rendered) -> None:
        """Take the newest; while the view is paused it is counted, and what is shown stays."""
        with self._lock:
            self._tally.add(rendered)
            paused = self._view.paused and self._shown is not None
            if not paused:
                self._shown = rendered
        if not paused:
            self._tell()

    def close(self) -> None:
        """Say that nothing more will come; what was last stays to be seen."""
        with self._lock:
            self._tally.state = "ended"
        self._tell()

    @property
    def shown(self) -> Rendered | None:
        """What is to be seen of it now; its ``image`` is the pipeline's, not to be used. None: nothing came yet."""
        with self._lock:
            return self._shown

    def described(self) -> Rendered | None:
        """Return `shown` with the classes that the view asks for now."""
        shown = self.shown
        if shown is None or shown.result is None:
            return shown
        return replace(shown, classes=self._view.explained(shown.result))

    def draw(self, use: Callable[[Rendered], T]) -> T | None:
        """Draw what is shown as the view says now, and hand it to ``use`` before the buffer is drawn into again.

        Returns: what ``use`` returned; None where nothing came yet.
        """
        shown = self.shown
        if shown is None:
            return None
        with self._drawing:
            return use(self._draw(shown))

    def _draw(self, shown: Rendered) -> Rendered:
        if shown.result is None:
            return self._renderer.render_lost(shown.frame)
        return self._renderer.render(shown.frame, shown.result, shown.result_index)

    def numbers(self) -> Numbers:
        """Return what there is to say of it now."""
        with self._lock:
            return self._tally.numbers(self.name)


@dataclass(slots=True)
class _Tally:
    """What is counted of one camera."""

    state: State = "waiting"
    frames: int = 0
    dropped: int = 0
    reconnects: int = 0
    drawn_at: deque[float] = field(default_factory=lambda: deque(maxlen=_SPEED_WINDOW))
    classified: int = 0
    classified_at: deque[float] = field(default_factory=lambda: deque(maxlen=_SPEED_WINDOW))
    classes: Counter[int] = field(default_factory=Counter)
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    newest_s: float | None = None
    last_index: int | None = None
    last_result: int | None = None

    def add(self, rendered: Rendered) -> None:
        if rendered.result is None:
            self.state = "lost"
            return
        now = time.monotonic()
        index = rendered.frame.index
        if self.state == "lost" and self.frames:
            self.reconnects += 1
        elif self.last_index is not None:  # a source numbers the frames that nobody had time for
            self.dropped += max(0, index - self.last_index - 1)
        self.state, self.last_index, self.newest_s = "live", index, now
        self.frames += 1
        self.drawn_at.append(now)
        self.stages_ms = rendered.stages_ms
        if rendered.result_index != self.last_result:
            self.last_result = rendered.result_index
            self.classified += 1
            self.classified_at.append(now)
            self.classes[rendered.result.class_id] += 1

    def numbers(self, name: str) -> Numbers:
        now = time.monotonic()
        return Numbers(
            name=name,
            state=self.state,
            age_s=None if self.newest_s is None else now - self.newest_s,
            frames=self.frames,
            classified=self.classified,
            dropped=self.dropped,
            reconnects=self.reconnects,
            fps={"drawn": _rate(self.drawn_at, now), "classified": _rate(self.classified_at, now)},
            stages_ms=dict(self.stages_ms),
            classes=dict(self.classes),
        )


def _rate(moments: Sequence[float], now: float) -> float:
    if len(moments) < 2 or now - moments[-1] > _OLD_S:
        return 0.0
    return (len(moments) - 1) / max(moments[-1] - moments[0], 1e-9)


class Hub:
    """All cameras of one model and one view."""

    def __init__(self, model: Model, view: View, names: Sequence[str]) -> None:
        """Make a place for each camera.

        Args:
            model: what classifies.
            view: what is drawn; shared by all cameras and viewers.
            names: of the cameras, without credentials.
        """
        self.model = model
        self.view = view
        self._news = threading.Condition()
        self._number = 0
        self.cameras = [Camera(name, model, view, self.tell) for name in names]

    def sink(self, number: int) -> Camera:
        """Return the sink for the pipeline of camera ``number``, 0 first."""
        return self.cameras[number]

    def camera(self, number: int) -> Camera:
        """Return a camera. Raises: UsageError: there is none of that number."""
        if not 0 <= number < len(self.cameras):
            raise UsageError(f"no camera {number}; there are 0 to {len(self.cameras) - 1}")
        return self.cameras[number]

    def tell(self) -> None:
        """Say that there is something new to be seen: a frame, or another setting."""
        with self._news:
            self._number += 1
            self._news.notify_all()

    def wait(self, seen: int, timeout_s: float) -> int:
        """Wait until there is something newer than ``seen``; returns the newest number, ``seen`` after the time."""
        with self._news:
            self._news.wait_for(lambda: self._number != seen, timeout_s)
            return self._number
