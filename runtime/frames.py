"""What travels through the pipeline, and the two seams at its ends."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from camrt.images import Image

if TYPE_CHECKING:
    from camrt.runtime.maps.result import Result


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture on its way; nobody writes into ``image``."""

    image: Image
    index: int
    """Number of the frame in its source, 0 first; a live source counts the frames that were never shown too."""
    time_s: float
    """Seconds since the start of a file; for a live source seconds since the epoch at which the frame arrived."""
    name: str
    """What to call it: the picture's path, or the source's name without credentials."""
    lost: str = ""
    """Why there is no picture: the source is lost, and ``image`` is the last that came, or black. It is shown with
    that said on it, and not classified."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A frame with its overlay, as every sink gets it."""

    frame: Frame
    image: Image
    """The overlay, in a buffer that is overwritten after the sinks return; the frame where nobody looks at it."""
    result: "Result | None"
    """The newest result; with ``frame.index != result_index`` it belongs to an earlier frame. None: there is no
    signal (``frame.lost``), and nothing is explained."""
    result_index: int
    """Number of the frame the result belongs to; that of ``frame`` where there is none."""
    classes: tuple[int, ...] = ()
    """Numbers of the classes whose maps stand side by side in ``image``, from left to right."""
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    """Milliseconds that ``preprocess``, ``inference``, ``cam`` and ``overlay`` took; the last two if painted."""


class Source(Protocol):
    """Gives frames until it ends. Only one thread reads; `close` may come from another and ends a read that waits."""

    name: str
    """What to call it, without credentials."""
    live: bool
    """True: the newest frame is what counts, older ones may be dropped. False: every frame, in order."""
    fps: float | None
    """Nominal frame rate; None where there is none, as for pictures."""
    frame_count: int | None
    """How many frames there will be, where that is known beforehand."""
    problems: list[str]
    """What could not be read and was passed over: one line each, naming the file and the reason."""

    def read(self) -> Frame | None:
        """Return the next frame, or None at the end. Raises: SourceError."""

    def close(self) -> None:
        """Let go of the device or file; harmless when called twice."""


class Sink(Protocol):
    """Takes finished overlays, in order."""

    def write(self, rendered: Rendered) -> None:
        """Take one overlay. Raises: SinkError."""

    def close(self) -> None:
        """Finish what was written, so that it can be opened and played. Raises: SinkError."""
