"""Read and write the metadata of OpenVINO's Model API, which the Training Extensions and XAI follow too.

Keys are ``model_info NAME`` in the file's ``metadata_props``; lists are separated by spaces. There the network's input
is (pixel - mean_values) / scale_values, with pixels from 0 to 255 in BGR, or in RGB with ``reverse_input_channels``.
"""

from collections.abc import Mapping
from typing import Final

from onnx import ModelProto

from camrt.errors import UsageError
from camrt.export.graph.preprocessing import Channels
from camrt.export.source_metadata.statement import Numbers, Statement, float_tuple
from camrt.model_file import ModelInfo, Resize

PLACE: Final = "the file's model_info (OpenVINO Model API)"
KEY_PREFIX: Final = "model_info "
_RESIZE_TYPES: Final[dict[Resize, str]] = {
    "stretch": "standard",
    "crop": "crop",
    "letterbox": "fit_to_window_letterbox",
}

_FOLLOWED: Final = {
    "resize_type": tuple(_RESIZE_TYPES.values()),
    "interpolation_mode": ("LINEAR",),
    "pad_value": ("0",),
}
"""Entries whose other values are named in a note."""


def read_model_info(metadata: Mapping[str, str], model: ModelProto) -> Statement | None:
    """Return what a file's ``model_info`` states; None where the file has none.

    Args:
        metadata: of the file.
        model: the file; the order of the channels means nothing for a network of grey images.

    Raises:
        UsageError: a number cannot be read.
    """
    entries = {
        key.removeprefix(KEY_PREFIX): value.strip() for key, value in metadata.items() if key.startswith(KEY_PREFIX)
    }
    if not entries:
        return None
    resize = next((name for name, word in _RESIZE_TYPES.items() if word == entries.get("resize_type")), None)
    order: Channels = "rgb" if _is_true(entries, "reverse_input_channels") else "bgr"
    return Statement(
        place=PLACE,
        channels="grey" if _takes_grey(model) else order,
        numbers=_pixel_numbers(entries),
        resize=None if resize is None else (resize, None),
        labels=tuple(entries["labels"].split()) if entries.get("labels") else None,
        activation="sigmoid" if _is_true(entries, "multilabel") else None,
        notes=tuple(
            f"{PLACE}: {name} {entries[name]} is not followed."
            for name, followed in _FOLLOWED.items()
            if entries.get(name) and entries[name] not in followed
        ),
    )


def _takes_grey(model: ModelProto) -> bool:
    """Tell whether the image that the network takes has one channel, first or last."""
    initializers = {tensor.name for tensor in model.graph.initializer}
    shapes = [value.type.tensor_type.shape.dim for value in model.graph.input if value.name not in initializers]
    images = [shape for shape in shapes if len(shape) == 4]
    return len(images) == 1 and 1 in (images[0][1].dim_value, images[0][3].dim_value)


def _pixel_numbers(entries: Mapping[str, str]) -> Numbers | UsageError:
    """Return the numbers, in which pixels go from 0 to 255; an error: the entries want others, or other steps."""
    mean, std = _numbers(entries, "mean_values", 0.0), _numbers(entries, "scale_values", 1.0)
    mode, kind = entries.get("intensity_mode") or "none", entries.get("input_dtype") or "u8"
    if mode == "none" and kind == "u8":
        return Numbers(1.0, mean, std)
    if mode == "scale_to_unit" and kind == "u8":
        return Numbers(1.0 / _numbers(entries, "intensity_max_value", 255.0)[0], mean, std)
    return UsageError(
        f"{PLACE}: pixels of type {kind} with intensity_mode {mode}; only bytes with none or scale_to_unit can be "
        "followed. Pass --scale, --mean and --std to decide"
    )


def model_info_entries(info: ModelInfo) -> dict[str, str]:
    """Return the metadata with which the Model API runs a model file; empty where it would run the file differently.

    The preprocessing is in the graph, so the entries have none. The Model API applies softmax to scores that do not
    sum to 1, and sigmoid to all others: only logits and softmax scores survive this. None of its interpolations has
    antialiasing; LINEAR gives the same images where they are enlarged, and the closest where they are reduced. The
    image of the file is BGR, also where the network takes RGB or grey.
    """
    geometry = info.geometry
    if geometry is None or info.activation == "sigmoid" or geometry.shorter_side is not None:
        return {}
    entries = {
        "model_type": "Classification",
        "resize_type": _RESIZE_TYPES[geometry.resize],
        "interpolation_mode": "LINEAR",
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
