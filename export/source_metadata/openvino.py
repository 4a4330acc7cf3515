"""Read and write the metadata of OpenVINO's Model API, which the Training Extensions and XAI follow too.

Keys are ``model_info NAME`` in the file's ``metadata_props``; lists are separated by spaces. There the network's input
is (pixel - mean_values) / scale_values, with pixels from 0 to 255 in BGR, or in RGB with ``reverse_input_channels``.
"""

from collections.abc import Mapping
from typing import Final

from camrt.export.source_metadata.statement import Numbers, Statement, float_tuple
from camrt.model_file import ModelInfo, Resize

PLACE: Final = "the file's model_info (OpenVINO Model API)"
KEY_PREFIX: Final = "model_info "
_RESIZE_TYPES: Final[dict[Resize, str]] = {
    "stretch": "standard",
    "crop": "crop",
    "letterbox": "fit_to_window_letterbox",
}


def read_model_info(metadata: Mapping[str, str]) -> Statement | None:
    """Return what a file's ``model_info`` states; None where the file has none.

    Raises:
        UsageError: a number cannot be read.
    """
    entries = {
        key.removeprefix(KEY_PREFIX): value.strip() for key, value in metadata.items() if key.startswith(KEY_PREFIX)
    }
    if not entries:
        return None
    resize = next((name for name, word in _RESIZE_TYPES.items() if word == entries.get("resize_type")), None)
    return Statement(
        place=PLACE,
        channels="rgb" if _is_true(entries, "reverse_input_channels") else "bgr",
        numbers=Numbers(1.0, _numbers(entries, "mean_values", 0.0), _numbers(entries, "scale_values", 1.0)),
        resize=None if resize is None else (resize, None),
        labels=tuple(entries["labels"].split()) if entries.get("labels") else None,
        activation="sigmoid" if _is_true(entries, "multilabel") else None,
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


def _is_true(entries: Mapping[str, str], name: str) -> bool:
    return entries.get(name, "").lower() in ("true", "yes", "1")


def _numbers(entries: Mapping[str, str], name: str, default: float) -> tuple[float, ...]:
    words = entries.get(name, "").replace(",", " ").split()
    return float_tuple(words, f"{PLACE}, {name}") if words else (default,)
