"""Counters in the text format of Prometheus, version 0.0.4."""

from collections.abc import Iterable, Iterator

from camrt.runtime.maps.attention_drift import Attention
from camrt.runtime.stream.hub import CountedClass, Hub

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_Sample = tuple[dict[str, str], float]


def metrics(hub: Hub, viewers: int) -> str:
    """Return all metrics, family by family."""
    cameras = [
        ({"camera": str(number), "name": stream.name}, stream.status()) for number, stream in enumerate(hub.streams)
    ]
    lines = [
        *_family(
            "camrt_up",
            "gauge",
            "1 while the camera gives frames, else 0.",
            ((c, float(n.state == "live")) for c, n in cameras),
        ),
        *_family("camrt_frames_total", "counter", "Frames with a result.", ((c, n.frames) for c, n in cameras)),
        *_family("camrt_classified_total", "counter", "Frames classified.", ((c, n.classified) for c, n in cameras)),
        *_family(
            "camrt_dropped_frames_total",
            "counter",
            "Frames of a live source that were dropped to stay live.",
            ((c, n.dropped) for c, n in cameras),
        ),
        *_family(
            "camrt_reconnects_total",
            "counter",
            "Number of times that the signal came back.",
            ((c, n.reconnects) for c, n in cameras),
        ),
        *_family(
            "camrt_frame_age_seconds",
            "gauge",
            "Seconds since the newest frame.",
            ((c, n.age_s) for c, n in cameras if n.age_s is not None),
        ),
        *_family(
            "camrt_fps",
            "gauge",
            "Frames per second.",
            ((c | {"stage": stage}, rate) for c, n in cameras for stage, rate in n.fps.items()),
        ),
        *_family(
            "camrt_stage_seconds",
            "gauge",
            "Seconds of each stage for the newest frame.",
            ((c | {"stage": stage}, ms / 1e3) for c, n in cameras for stage, ms in n.stages_ms.items()),
        ),
        *_family(
            "camrt_class_frames_total",
            "counter",
            "Classified frames by their best class.",
            (
                (c | _class_labels(one), count)
                for c, n in cameras
                for one, count in sorted(n.classes.items(), key=lambda entry: (entry[0].head or "", entry[0].number))
            ),
        ),
        *_family(
            "camrt_attention_drift",
            "gauge",
            "Distance of the maps from the audit's medians; 1: the ends of its ranges. Without class: of all.",
            (sample for c, n in cameras if n.attention is not None for sample in _drifts(c, n.attention)),
        ),
        *_family(
            "camrt_attention_outside",
            "gauge",
            "1 while the attention is outside the audit's range, else 0.",
            ((c, float(n.attention.outside)) for c, n in cameras if n.attention is not None),
        ),
        *_family("camrt_viewers", "gauge", "Viewers of images.", [({}, viewers)]),
    ]
    return "\n".join(lines) + "\n"


def _drifts(camera: dict[str, str], attention: Attention) -> Iterator[_Sample]:
    yield camera, attention.drift
    for one in attention.classes:
        yield camera | {"class": one.label, "class_id": str(one.class_id)}, one.drift


def _class_labels(one: CountedClass) -> dict[str, str]:
    labels = {"class": one.label, "class_id": str(one.number)}
    return labels if one.head is None else labels | {"head": one.head}


def _family(name: str, kind: str, explained: str, samples: Iterable[_Sample]) -> Iterator[str]:
    yield f"# HELP {name} {explained}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        inside = ",".join(f'{key}="{_escape(text)}"' for key, text in labels.items())
        yield f"{name}{{{inside}}} {value:.9g}" if labels else f"{name} {value:.9g}"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
