"""Record of a stream item in JSON: one form for event logs, server-sent events and the API."""

import math
from collections.abc import Sequence
from typing import Any, Final

from camrt.runtime.frames import StreamItem
from camrt.runtime.maps.box_tracks import TrackedBox

TOP: Final = 5
"""Number of best classes in a record by default."""


def record(item: StreamItem, classes: Sequence[int] | None = None, top: int = TOP) -> dict[str, Any]:
    """Describe an item.

    Args:
        item: frame and result.
        classes: numbers of the classes whose maps are drawn; None: those of the item.
        top: number of best classes to list.

    Returns: a dictionary that JSON can hold.

        frame, result_frame: numbers of the frame and of the classified frame.
        time: seconds since the epoch at which the frame arrived; in a file, seconds since its start.
        source: name of the source, or path of the image.
        lost: reason why there is no signal; empty while there is one.
        width, height: size of the frame in pixels.
        top: best classes, best first: ``class_id``, ``label``, ``score`` each.
        explained: the drawn classes, in the same form.
        boxes: around the warm regions of the first drawn class: x0, y0, x1, y1 in pixels and the peak, 0 to 1. Empty
            if the map is of an earlier scene.
        box_ids: the identity of each box, which it keeps over time; 1 is the first object of the stream. Empty unless
            boxes are drawn (``--boxes``) over a camera, a stream or a video.
        objects: number of objects with an identity so far in the stream.
        stages_ms: milliseconds of each stage.
        head: name of the head that gave the result; only of a model file with several.
        attention: of a session with a reference only: ``drift`` of all classes together (1: the ends of the audit's
            ranges), ``statistic`` that is the farthest, ``outside``, ``event`` (``left`` or ``returned`` on the first
            record with another ``outside``, else empty), and ``classes`` with the drift of each.

        Numbers have six decimals. NaN and infinity, which JSON cannot hold, become null.
    """
    frame, result = item.frame, item.result
    described: dict[str, Any] = {
        "frame": frame.index,
        "result_frame": item.result_index,
        "time": _number(frame.time_s),
        "source": frame.name,
        "lost": frame.lost,
        "width": frame.image.shape[1],
        "height": frame.image.shape[0],
        "top": [],
        "explained": [],
        "boxes": [],
        "box_ids": [],
        "objects": item.objects,
        "stages_ms": {stage: _number(milliseconds) for stage, milliseconds in item.stages_ms.items()},
    }
    if result is None:
        return described
    if result.decoder.head is not None:
        described["head"] = result.decoder.head
    if item.attention is not None:
        attention = item.attention
        event = ("left" if attention.outside else "returned") if item.attention_changed else ""
        described["attention"] = {
            "drift": _number(attention.drift),
            "statistic": attention.statistic,
            "outside": attention.outside,
            "event": event,
            "classes": [
                {"class_id": one.class_id, "label": one.label, "drift": _number(one.drift)} for one in attention.classes
            ],
        }
    drawn = item.classes if classes is None else classes
    described["top"] = [_score(class_id, label, score) for class_id, label, score in result.top(top)]
    described["explained"] = [_score(number, result.label(number), float(result.scores[number])) for number in drawn]
    if drawn and item.same_scene:
        boxes = item.boxes_of(drawn[0])
        described["boxes"] = [[*box[:4], _number(box.score)] for box in boxes]
        described["box_ids"] = [box.number for box in boxes if isinstance(box, TrackedBox)]
    return described


def _score(class_id: int, label: str, score: float) -> dict[str, Any]:
    return {"class_id": class_id, "label": label, "score": _number(score)}


def _number(value: float) -> float | None:
    return round(float(value), 6) if math.isfinite(value) else None
