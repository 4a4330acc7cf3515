"""Image metadata of the ONNX standard: ``Image.BitmapPixelFormat`` and its neighbours, and denotations of the input.

Keys and values are case insensitive (MetadataProps.md and TypeDenotation.md, DimensionDenotation.md of ONNX).
"""

from collections.abc import Collection, Mapping

from onnx import ModelProto

from camrt.errors import UsageError
from camrt.export.graph.network_input import ImageLayout
from camrt.export.graph.preprocessing import Channels
from camrt.export.source_metadata.statement import (
    FROM_0_TO_1,
    FROM_MINUS_1_TO_1,
    PIXELS,
    RANGE_16_235,
    Numbers,
    Statement,
)

PLACE = "the file's ONNX image metadata"
_FORMATS: dict[str, Channels] = {"gray8": "grey", "rgb8": "rgb", "bgr8": "bgr", "rgba8": "rgb", "bgra8": "bgr"}
_RANGES: dict[str, Numbers] = {
    "nominalrange_0_255": PIXELS,
    "normalized_0_1": FROM_0_TO_1,
    "normalized_1_1": FROM_MINUS_1_TO_1,
    "nominalrange_16_235": RANGE_16_235,
}
_LAYOUTS: dict[tuple[str, ...], ImageLayout] = {
    ("DATA_BATCH", "DATA_CHANNEL", "DATA_FEATURE", "DATA_FEATURE"): "nchw",
    ("DATA_BATCH", "DATA_FEATURE", "DATA_FEATURE", "DATA_CHANNEL"): "nhwc",
}


def read_onnx_image(
    metadata: Mapping[str, str], model: ModelProto | None = None, place: str = PLACE
) -> Statement | None:
    """Return what the image metadata state; None: there are none.

    Args:
        metadata: entries of the file, or of Custom Vision's file beside it.
        model: the file, for the denotations of its input.
        place: of the metadata, for messages.

    Raises:
        UsageError: a value is unknown.
    """
    lower = {key.lower(): value.strip() for key, value in metadata.items()}
    pixel_format = lower.get("image.bitmappixelformat")
    pixel_range = lower.get("image.nominalpixelrange")
    layout = None if model is None else _denoted_layout(model)
    if pixel_format is None and pixel_range is None and layout is None:
        return None
    notes = []
    if lower.get("image.colorspacegamma", "srgb").lower() == "linear":
        notes.append(f"{place} ask for linear brightness (Image.ColorSpaceGamma); frames are passed on in sRGB.")
    if pixel_format is not None and pixel_format.lower() in ("rgba8", "bgra8"):
        notes.append(f"{place} ask for {pixel_format}; the alpha channel is left out.")
    return Statement(
        place=place,
        channels=None if pixel_format is None else _FORMATS[_known(pixel_format, _FORMATS, place, "BitmapPixelFormat")],
        numbers=None if pixel_range is None else _RANGES[_known(pixel_range, _RANGES, place, "NominalPixelRange")],
        layout=layout,
        notes=tuple(notes),
    )


def _known(word: str, known: Collection[str], place: str, key: str) -> str:
    """Return a word in lower case. Raises: UsageError if it is unknown."""
    if word.lower() not in known:
        raise UsageError(f"{place}: Image.{key} is {word!r}, none of {', '.join(known)}; correct it with onnx")
    return word.lower()


def _denoted_layout(model: ModelProto) -> ImageLayout | None:
    """Return the order of the input's axes by their denotations; None: they have none."""
    initializers = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initializers]
    if len(inputs) != 1:
        return None
    dimensions = inputs[0].type.tensor_type.shape.dim
    return _LAYOUTS.get(tuple(dimension.denotation.upper() for dimension in dimensions))
