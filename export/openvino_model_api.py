"""Metadata of OpenVINO's Model API (and of the Training Extensions and XAI, which follow it): read and written.

Keys are ``model_info NAME`` in the file's ``metadata_props``; lists are separated by spaces. The network's input is
(pixel - mean_values) / scale_values there, pixels from 0 to 255 in BGR, reversed to RGB where the file says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from onnx import ModelProto

from camrt.export.graph.preprocessing import Pixels
from camrt.model_file import ModelInfo, Resize

PREFIX: Final = "model_info "
_RESIZES: Final[dict[Resize, str]] = {
    "stretch": "standard",
    "crop": "crop",
    "letterbox": "fit_to_window_letterbox",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What a classifier's metadata says of it."""

    pixels: Pixels
    labels: tuple[str, ...] | None


def read(model: ModelProto) -> Stated | None:
    """Return what ``model_info`` says; None where the file has none."""
    entries = {
        entry.key.removeprefix(PREFIX): entry.value.strip()
        for entry in model.metadata_props
        if entry.key.startswith(PREFIX)
    }
    if not entries:
        return None
    labels = tuple(entries["labels"].split()) if entries.get("labels") else None
    return Stated(
        labels=labels,
        pixels=Pixels(
            channels="rgb" if entries.get("reverse_input_channels", "").lower() in ("true", "yes", "1") else "bgr",
            scale=1.0,
            mean=_numbers(entries, "mean_values") or (0.0, 0.0, 0.0),
            std=_numbers(entries, "scale_values") or (1.0, 1.0, 1.0),
        ),
    )


def entries(info: ModelInfo) -> dict[str, str]:
    """Return the entries that let the Model API run a model file; none where it would run it in another way.

    The preprocessing is in the graph, so nothing is said of it. The Model API takes the softmax of scores that are not
    one, and the sigmoid of any: scores that are neither logits nor a softmax do not fit.
    """
    geometry = info.geometry
    if geometry is None or info.activation == "sigmoid" or geometry.shorter_side is not None:
        return {}
    stated = {
        "model_type": "Classification",
        "resize_type": _RESIZES[geometry.resize],
        "reverse_input_channels": "False",
    }
    if info.labels is not None:
        stated["labels"] = " ".join("_".join(label.split()) or "_" for label in info.labels)
    return {PREFIX + name: value for name, value in stated.items()}


def _numbers(entries: Mapping[str, str], name: str) -> tuple[float, ...] | None:
    try:
        numbers = tuple(float(word) for word in entries.get(name, "").replace(",", " ").split())
    except ValueError:
        return None
    return numbers * 3 if len(numbers) == 1 else numbers if len(numbers) == 3 else None
