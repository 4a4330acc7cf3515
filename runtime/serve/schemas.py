"""Response models of the API, as the OpenAPI page describes them."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from camrt import __version__
from camrt.runtime.frames import StreamItem
from camrt.runtime.maps.colormaps import COLORMAPS
from camrt.runtime.record import TOP, record
from camrt.runtime.serve.settings import MOST_CLASSES, Control, Settings, controls, settings_of
from camrt.runtime.stream.hub import Hub, HubStream
from camrt.text import one_line


class Response(BaseModel):
    """A JSON response. The OpenAPI page explains each field by its docstring."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Score(Response):
    """A class and its score."""

    class_id: int
    label: str
    score: float | None
    """Null if the score is not a finite number."""


class ClassDrift(Response):
    """A class and the drift of its attention."""

    class_id: int
    label: str
    drift: float | None


class AttentionState(Response):
    """Attention of a camera against the audit's."""

    drift: float | None
    """Distance of the maps from the audit's medians, of all classes together; 1 is as far as the ends of its ranges."""
    statistic: str
    """Statistic that is the farthest: ``centre``, ``entropy`` or ``distance`` (of the mean map)."""
    outside: bool
    """True: it has left the audit's range, and is not back."""
    event: Literal["", "left", "returned"]
    """Change of ``outside`` on this frame."""
    classes: list[ClassDrift]
    """Drift of each class that was seen."""


class FrameResult(Response):
    """Result of one frame: the same record as a line of the event log, and the number of its camera."""

    camera: int
    frame: int
    """Number of the frame in its source."""
    result_frame: int
    """Number of the classified frame; an earlier one if the camera is faster than the model."""
    time: float | None
    """Seconds since the epoch at which the frame arrived; in a file, seconds since its start."""
    source: str
    """Name of the source, or path of the image."""
    lost: str
    """Reason why there is no signal; empty while there is one."""
    width: int
    height: int
    top: list[Score]
    """Best classes, best first."""
    explained: list[Score]
    """Classes whose maps are shown, side by side from left to right."""
    boxes: list[tuple[int, int, int, int, float]]
    """Around the warm regions of the first shown class: x0, y0, x1, y1 in pixels, and the peak, 0 to 1."""
    box_ids: list[int]
    """Identity of each box over time; empty unless boxes are drawn over a camera, a stream or a video."""
    objects: int
    """Number of objects with an identity so far in the stream."""
    stages_ms: dict[str, float | None]
    """Milliseconds of each stage; ``cam`` and ``overlay`` only if the overlay was drawn."""
    head: str | None = None
    """Head that gave the result, in a model file with several."""
    attention: AttentionState | None = None
    """Attention against the audit's, in a session with a reference."""


class CameraState(Response):
    """State and numbers of a camera."""

    camera: int
    name: str
    """Name of the source, without credentials."""
    short_name: str
    """Name on the page: unique, at most 32 characters."""
    state: Literal["waiting", "live", "stalled", "lost", "ended"]
    """``waiting`` for the first frame, ``live``, ``stalled`` (a signal, but no frame for five seconds), ``lost`` (no
    signal), or ``ended``."""
    age_s: float | None
    """Seconds since the newest frame; null before the first one."""
    frames: int
    """Frames with a result."""
    classified: int
    """Frames that went through the model."""
    dropped: int
    """Frames of a live source that were dropped to stay live."""
    reconnects: int
    """Number of times that the signal came back."""
    fps: dict[str, float]
    """Frames per second: ``drawn`` and ``classified``."""
    stages_ms: dict[str, float]
    """Milliseconds of each stage for the newest frame; ``cam`` and ``overlay`` only if it was recorded."""


class State(Response):
    """Model, settings and cameras."""

    version: str
    model: str
    """File name of the model."""
    provider: str
    """Execution provider that runs the model."""
    threads: int
    heads: list[str]
    """Heads of a model file with several; empty: it has one."""
    classes: int
    """Number of classes of the shown head."""
    most_classes: int
    """Most classes that can be shown side by side."""
    colormaps: list[str]
    controls: list[Control]
    """One control of the page for each display setting."""
    viewers: int
    """Viewers of images, all cameras together."""
    settings: Settings  # type: ignore[valid-type] # made by pydantic.create_model
    cameras: list[CameraState]


class Event(Response):
    """Message for each new image, and at least twice a second."""

    viewers: int
    """Viewers of images, all cameras together."""
    settings: Settings  # type: ignore[valid-type] # made by pydantic.create_model
    cameras: list[CameraState]
    seen: list[FrameResult]
    """Result on the newest image of each camera that has one."""


def state(hub: Hub, viewers: int) -> State:
    """Return the state of all cameras."""
    model = hub.model
    return State(
        version=__version__,
        model=one_line(model.path.name),
        provider=model.provider,
        threads=model.threads,
        heads=list(model.heads),
        classes=model.classes,
        most_classes=MOST_CLASSES,
        colormaps=list(COLORMAPS),
        controls=controls(model.heads),
        viewers=viewers,
        settings=settings_of(hub),
        cameras=_cameras(hub),
    )


def frame_result(camera: int, item: StreamItem, classes: Sequence[int], top: int = TOP) -> FrameResult:
    """Return the result of an item, with the shown classes and the ``top`` best ones."""
    fields: dict[str, Any] = record(item, classes, top)
    return FrameResult(camera=camera, **fields)


def event(hub: Hub, shown: Sequence[tuple[StreamItem, tuple[int, ...]] | None], viewers: int) -> bytes:
    """Return an `Event` as JSON on one line; ``shown`` is the item and the classes of each camera's image."""
    results = [frame_result(number, *image) for number, image in enumerate(shown) if image is not None]
    message = Event(viewers=viewers, settings=settings_of(hub), cameras=_cameras(hub), seen=results)
    return message.model_dump_json().encode()


def _cameras(hub: Hub) -> list[CameraState]:
    return [_camera(number, stream) for number, stream in enumerate(hub.streams)]


def _camera(number: int, stream: HubStream) -> CameraState:
    status = stream.status()
    return CameraState(
        camera=number,
        name=stream.name,
        short_name=stream.short_name,
        state=status.state,
        age_s=status.age_s,
        frames=status.frames,
        classified=status.classified,
        dropped=status.dropped,
        reconnects=status.reconnects,
        fps=dict(status.fps),
        stages_ms=dict(status.stages_ms),
    )
