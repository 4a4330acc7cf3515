"""Read and write the metadata of OpenVINO's Model API, which the Training Extensions and XAI follow too.

Keys are ``model_info NAME`` in the file's ``metadata_props``; lists are separated by spaces. There the network's input
is (pixel - mean_values) / scale_values, with pixels from 0 to 255 in BGR, or in RGB with ``reverse_input_channels``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from onnx import ModelProto

from camrt.export.graph.preprocessing import PreprocessingOptions
from camrt.model_file import ModelInfo, Resize

KEY_PREFIX: Final = "model_info "
_RESIZE_TYPES: Final[dict[Resize, str]] = {
    "stretch": "standard",
    "crop": "crop",
    "letterbox": "fit_to_window_letterbox",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelApiInfo:
    """A classifier's preprocessing and labels by its ``model_info``."""

    preprocessing: PreprocessingOptions
    labels: tuple[str, ...] | None


def read_model_info(model: ModelProto) -> ModelApiInfo | None:
    """Return what a file's ``model_info`` states; None where the file has none."""
    entries = {
        entry.key.removeprefix(KEY_PREFIX): entry.value.strip()
        for entry in model.metadata_props
        if entry.key.startswith(KEY_PREFIX)
    }
    if not entries:
        return None
    reverse_channels = entries.get("reverse_input_channels", "").lower() in ("true", "yes", "1")
    return ModelApiInfo(
        labels=tuple(entries["labels"].split()) if entries.get("labels") else None,
        preprocessing=PreprocessingOptions(
            channels="rgb" if reverse_channels else "bgr",
            scale=1.0,
            mean=_numbers(entries, "mean_values") or (0.0, 0.0, 0.0),
            std=_numbers(entries, "scale_values") or (1.0, 1.0, 1.0),
        ),
    )


def model_info_entries(info: ModelInfo) -> dict[str, str]:
    """Return the metadata with which the Model API runs a model file; empty where it would run the file differently.

    The preprocessing is in the graph, so the entries have none. The Model API applies softmax to scores that do not
    sum to 1, and sigmoid to all others: only logits and softmax scores survive this. It resizes large images without
    antialiasing, and has no entry for the interpolation.
    """
    geometry = info.geometry
    if geometry is None or info.activation == "sigmoid" or geometry.shorter_side is not None:
        return {}
    entries = {
        "model_type": "Classification",
        "resize_type": _RESIZE_TYPES[geometry.resize],
        "reverse_input_channels": "False",
    }
    if info.labels is not None:
        entries["labels"] = " ".join("_".join(label.split()) or "_" for label in info.labels)
    return {KEY_PREFIX + name: value for name, value in entries.items()}


def _numbers(entries: Mapping[str, str], name: str) -> tuple[float, ...] | None:
    """Return the three numbers of an entry; one number counts for every channel."""
    try:
        numbers = tuple(float(word) for word in entries.get(name, "").replace(",", " ").split())
    except ValueError:
        return None
    return numbers * 3 if len(numbers) == 1 else numbers if len(numbers) == 3 else None
