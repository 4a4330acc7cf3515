"""Items of a stream, and the protocols of its two ends."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from camrt.images import Image
from camrt.kernels import Box
from camrt.runtime.maps.attention_drift import Attention
from camrt.runtime.maps.box_tracks import TrackedBox
from camrt.runtime.maps.result import Result

T_contra = TypeVar("T_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a source. ``image`` is never modified."""

    image: Image
    index: int
    """Number of the frame in its source, 0 first; a live source counts dropped frames too."""
    time_s: float
    """Seconds since the start of a file; for a live source seconds since the epoch at which the frame arrived."""
    name: str
    """Path of the image file, with the number of its page, or name of the source without credentials; printable on one
    line (`camrt.text.one_line`)."""
    lost: str = ""
    """Reason why the source gives no image; then ``image`` is the last one, or black. Such a frame is shown with the
    reason and not classified."""
    file: Path | None = None
    """The image file; None: the frame is of a video or a live source."""
    page: int | None = None
    """Number of the page in an image file of several, 1 first."""
    lasts_s: float = 0.0
    """Seconds that the frame of a file is shown; 0: unknown."""


@dataclass(frozen=True, slots=True)
class Sound:
    """The sound that belongs to the frames of a video file, or to a part of them."""

    path: Path
    """The file."""
    start_s: float
    """Time on the clock of the file at which the picture starts, in seconds."""
    ended: Callable[[], bool]
    """Return whether all frames of the file were read, so that all of its sound belongs to them."""
    certain: bool = True
    """False: the file may have no sound."""
    first: bool = True
    """False: sound before the picture belongs to another part."""


@dataclass(frozen=True, slots=True)
class StreamItem:
    """A frame with the newest result. Every sink and viewer of a stream reads the same items."""

    frame: Frame
    result: Result | None
    """The newest result, its maps smoothed by the temporal filter. None: there is no signal (``frame.lost``)."""
    result_index: int
    """Number of the classified frame; less than ``frame.index`` if the camera is faster than the model."""
    classes: tuple[int, ...] = ()
    """Numbers of the classes that the display settings chose for the item."""
    value_range: tuple[float, float] | None = None
    """Running range of the stream's maps, in logits per cell; None: the temporal filter is off."""
    tracks: Mapping[int, tuple[TrackedBox, ...]] = field(default_factory=dict)
    """Boxes with identities, by class; empty unless the display settings draw boxes over a stream."""
    objects: int = 0
    """Number of objects with an identity so far in the stream."""
    same_scene: bool = True
    """False: a scene cut lies between the classified frame and this one, so the maps do not belong to it."""
    fps: float | None = None
    """Items per second of this stream; None: too few yet."""
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    """Milliseconds that ``preprocess`` and ``inference`` took; ``cam`` and ``overlay`` too if it was drawn."""
    attention: Attention | None = None
    """Attention of the stream against the audit's; None: the session has no reference."""
    attention_changed: bool = False
    """The attention has left the audit's range, or come back, since the item before."""

    def boxes_of(self, class_id: int) -> Sequence[TrackedBox | Box]:
        """Return the boxes of a class: those with identities where the stream follows the class."""
        if class_id in self.tracks:
            return self.tracks[class_id]
        return [] if self.result is None else self.result.boxes(class_id)


@dataclass(frozen=True, slots=True)
class Rendered:
    """An item with its overlay drawn."""

    item: StreamItem
    image: Image
    """uint8 (H, W * panels, 3). The buffer is reused after the sinks return; copy it to keep it."""
    classes: tuple[int, ...] = ()
    """Numbers of the classes whose maps stand side by side in ``image``, from left to right."""

    @property
    def frame(self) -> Frame:
        """The frame below the overlay."""
        return self.item.frame


class Source(Protocol):
    """Gives frames until it ends. One thread reads; `close` may come from another and ends a blocked read."""

    name: str
    """Name for users, without credentials, printable on one line (`camrt.text.one_line`)."""
    live: bool
    """True: only the newest frame counts, older ones may be dropped. False: every frame, in order."""
    fps: float | None
    """Nominal frame rate; None for sources without one, such as images."""
    frame_count: int | None
    """Number of frames, if known beforehand."""
    problems: list[str]
    """One line for each file that could not be read: the file and the reason."""

    def read(self) -> Frame | None:
        """Return the next frame, or None at the end. Raises: SourceError."""

    def close(self) -> None:
        """Release the device or file; harmless when called twice."""


class Sink(Protocol[T_contra]):
    """Takes the items of a stream in order: `Rendered` for recorders, `StreamItem` for events and viewers."""

    def write(self, item: T_contra, /) -> None:
        """Take one item. Raises: SinkError."""

    def close(self) -> None:
        """Finish the output so that it can be opened and played. Raises: SinkError."""
