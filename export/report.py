"""The report of a conversion: what was found, assumed and verified."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from camrt.export.graph.preprocessing import Preprocessing
from camrt.export.head.find import ClassifierHead
from camrt.export.options import ConversionOptions
from camrt.model_file import Activation, Head


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of `camrt.export.attach` and `camrt.export.from_torch`."""

    path: str
    """The model file."""
    head: Head
    classes: int
    features: tuple[int, int, int]
    """(C, h, w) of the maps in the file. C is the number of classes unless the head is "linear"."""
    labels: tuple[str, ...] | None
    input: tuple[int, int]
    """(width, height) in pixels."""
    activation: Activation
    map_margin: int
    assumptions: tuple[str, ...]
    """One sentence for each assumption about the classifier, and for each limit of its maps."""
    verification: Mapping[str, Any]
    """Errors, tolerances and images of the verification, as in the file's metadata."""


def list_assumptions(
    head: ClassifierHead,
    options: ConversionOptions,
    preprocessing: Preprocessing,
    verification: Mapping[str, Any],
    *,
    has_labels: bool,
    has_model_info: bool,
) -> tuple[str, ...]:
    """Return the sentences for `Report.assumptions`.

    Args:
        head: the head that was found.
        options: of the caller.
        preprocessing: the one in the graph.
        verification: the record for the metadata.
        has_labels: the classes have names.
        has_model_info: the file has metadata of OpenVINO's Model API.
    """
    sentences = []
    if has_model_info:
        sentences.append("Options that you did not set come from the file's model_info (OpenVINO Model API).")
    if preprocessing.is_imagenet_default:
        sentences.append(
            "The network's input is assumed to be pixels / 255, normalised by ImageNet's mean and std (--scale, "
            "--mean, --std)."
        )
    if preprocessing.channels == "rgb" and not has_model_info:
        sentences.append("The network's input is assumed to be RGB (--bgr).")
    if preprocessing.channels == "grey" and options.preprocessing.mean is None:
        sentences.append("The network's input is assumed to be grey pixels / 255 (--scale, --mean, --std).")
    if options.resize == "stretch":
        sentences.append("Frames are stretched to the network's size, whatever their aspect ratio (--resize).")
    if options.interpolation is None:
        sentences.append(
            "The network is assumed to be trained on images resized with antialiasing, as by Pillow and torchvision "
            "(--interpolation)."
        )
    if head.output.activation is None and options.activation is None:
        sentences.append("The graph ends in logits; scores are assumed to be their softmax (--activation).")
    if not has_labels:
        sentences.append("Classes have no names, only numbers (--labels).")
    if head.kind in _HEAD_NOTES:
        sentences.append(_HEAD_NOTES[head.kind])
    if head.map_margin:
        sentences.append(
            f"The outer {head.map_margin} cell(s) of each map see padding only; they are cropped before drawing."
        )
    if "identity_tolerance_absolute" in verification:
        sentences.append(
            "The head is quantized, so maps and logits agree up to its rounding: "
            f"{verification['identity_error_absolute']:.3g} was measured, and its quantizers allow "
            f"{verification['identity_tolerance_absolute']:.3g}."
        )
    return tuple(sentences)


_HEAD_NOTES: dict[Head, str] = {
    "pooled_class_maps": "Each channel of the last convolution is assumed to be one class.",
    "per_position": "The head is not linear: the map of a class is the logit that the head gives to each cell by "
    "itself; such maps do not add up to the logit.",
    "tokens": "The head reads one token or their mean: the map of a class is the logit that the head gives to each "
    "patch's token; such maps do not add up to the logit.",
    "masked": "The head mixes cells: the map of a class is the logit with all cells but one set to zero "
    "(Recipro-CAM); such maps do not add up to the logit.",
    "saliency_map": "The maps are the graph's own output 'saliency_map', unchanged.",
}
