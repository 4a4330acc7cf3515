"""What the API answers, as it stands in the OpenAPI page."""

import math
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from camrt import __version__
from camrt.runtime.frames import Rendered
from camrt.runtime.maps.overlay import COLORMAPS
from camrt.runtime.serve.hub import Hub, Numbers
from camrt.runtime.serve.settings import MOST_CLASSES, Settings, settings_of

TOP = 5


class Answer(BaseModel):
    """What is told as JSON; the OpenAPI page explains each field by what stands below it."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Score(Answer):
    """A class and its score."""

    class_id: int
    label: str
    score: float | None
    """Null: the network gave no finite number."""


class Seen(Answer):
    """What was seen on one frame."""

    camera: int
    frame: int
    """Number of the frame in its source."""
    result_frame: int
    """Number of the frame that was classified; an earlier one where the camera is faster than the model."""
    time: float | None
    """Seconds since the epoch at which the frame arrived; in a file, seconds since its start."""
    lost: str
    """Why there is no signal; empty while there is one."""
    width: int
    height: int
    explained: list[Score]
    """Classes whose maps are shown, side by side from left to right."""
    top: list[Score]
    """Best classes, best first."""
    boxes: list[tuple[int, int, int, int, float]]
    """Around the warm regions of the first class that is shown: x0, y0, x1, y1 in pixels, and the peak, 0 to 1."""
    stages_ms: dict[str, float]
    """Milliseconds that each stage took."""


class CameraState(Answer):
    """How a camera does."""

    camera: int
    name: str
    state: Literal["waiting", "live", "lost", "ended"]
    age_s: float | None
    """Seconds since its newest frame was drawn."""
    frames: int
    classified: int
    dropped: int
    """Frames of a live source that nobody had time for."""
    reconnects: int
    fps: dict[str, float]
    """Frames per second: drawn, classified."""
    stages_ms: dict[str, float]


class State(Answer):
    """Everything but the results."""

    version: str
    model: str
    provider: str
    threads: int
    classes: int
    """How many the model knows."""
    most_classes: int
    """How many can be shown side by side."""
    colormaps: list[str]
    viewers: int
    settings: Settings
    cameras: list[CameraState]


class Event(Answer):
    """What is sent with each picture."""

    viewers: int
    settings: Settings
    cameras: list[CameraState]
    seen: list[Seen]


def state(hub: Hub, viewers: int) -> State:
    """Return the state of all cameras."""
    model = hub.model
    return State(
        version=__version__,
        model=model.path.name,
        provider=model.provider,
        threads=model.threads,
        classes=model.classes,
        most_classes=MOST_CLASSES,
        colormaps=list(COLORMAPS),
        viewers=viewers,
        settings=settings_of(hub.view),
        cameras=[camera_state(number, camera.numbers()) for number, camera in enumerate(hub.cameras)],
    )


def camera_state(number: int, numbers: Numbers) -> CameraState:
    """Return the state of camera ``number``."""
    return CameraState(
        camera=number,
        name=numbers.name,
        state=numbers.state,
        age_s=numbers.age_s,
        frames=numbers.frames,
        classified=numbers.classified,
        dropped=numbers.dropped,
        reconnects=numbers.reconnects,
        fps=dict(numbers.fps),
        stages_ms=dict(numbers.stages_ms),
    )


def seen(camera: int, shown: Rendered, top: int = TOP) -> Seen:
    """Return what was seen on a frame, with the ``top`` best classes."""
    frame, result = shown.frame, shown.result
    said: dict[str, list[Score]] = {"explained": [], "top": []}
    boxes = []
    if result is not None:
        said["top"] = [
            Score(class_id=class_id, label=label, score=_finite(score)) for class_id, label, score in result.top(top)
        ]
        said["explained"] = [
            Score(class_id=number, label=result.label(number), score=_finite(float(result.scores[number])))
            for number in shown.classes
        ]
        boxes = result.boxes(shown.classes[0])
    return Seen(
        camera=camera,
        frame=frame.index,
        result_frame=shown.result_index,
        time=_finite(frame.time_s),
        lost=frame.lost,
        width=frame.image.shape[1],
        height=frame.image.shape[0],
        boxes=[*boxes],
        stages_ms=dict(shown.stages_ms),
        **said,
    )


def event(hub: Hub, shown: Sequence[Rendered | None], viewers: int) -> bytes:
    """Return an `Event` as JSON on one line; ``shown`` is what each camera's picture shows."""
    cameras = [camera_state(number, camera.numbers()) for number, camera in enumerate(hub.cameras)]
    everything = [seen(number, one) for number, one in enumerate(shown) if one is not None]
    return (
        Event(viewers=viewers, settings=settings_of(hub.view), cameras=cameras, seen=everything)
        .model_dump_json()
        .encode()
    )


def _finite(value: float) -> float | None:
    """Return ``value``; None, JSON's null, for NaN and infinity, which JSON has no word for."""
    return value if math.isfinite(value) else None
