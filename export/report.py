"""The report of a conversion: what was found, assumed and verified."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from camrt.export.graph.network_input import NetworkInput
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
    """One sentence for each assumption about the classifier."""
    remarks: tuple[str, ...]
    """One sentence for each choice and repair that was made, and for each limit of the maps."""
    verification: Mapping[str, Any]
    """Errors, tolerances and images of the verification, as in the file's metadata."""


def list_assumptions(
    head: ClassifierHead,
    options: ConversionOptions,
    preprocessing: Preprocessing,
    *,
    has_labels: bool,
    has_model_info: bool,
) -> tuple[str, ...]:
    """Return the sentences for `Report.assumptions`.

    Args:
        head: the head that was found.
        options: of the caller.
        preprocessing: the one in the graph.
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
    if preprocessing.has_alpha:
        sentences.append("The network's fourth channel is assumed to be alpha; it is 255 everywhere.")
    if preprocessing.channels in ("rgb", "rgba") and options.preprocessing.channels is None and not has_model_info:
        sentences.append("The network's input is assumed to be RGB (--bgr).")
    if preprocessing.channels == "grey" and options.preprocessing.mean is None:
        sentences.append("The network's input is assumed to be grey pixels / 255 (--scale, --mean, --std).")
    if options.resize == "stretch":
        sentences.append("Frames are stretched to the network's size, whatever their aspect ratio (--resize).")
    if head.output.activation is None and options.activation is None:
        sentences.append("The graph ends in logits; scores are assumed to be their softmax (--activation).")
    if not has_labels:
        sentences.append("Classes have no names, only numbers (--labels).")
    if head.kind == "pooled_class_maps" and head.output.activation is None:
        sentences.append("Each channel of the last convolution is assumed to be one class.")
    return tuple(sentences)


def list_limits(network_input: NetworkInput, head: ClassifierHead, verification: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the sentences about changes to the graph and the limits of the maps, for `Report.remarks`.

    Args:
        network_input: of the classifier.
        head: the head that was found.
        verification: the record for the metadata.
    """
    sentences = []
    if network_input.batch_is_inside:
        sentences.append(f"A batch size of {network_input.batch} was written into the graph; it takes any number now.")
    if head.kind in _HEAD_NOTES:
        sentences.append(_HEAD_NOTES[head.kind])
    if head.map_margin:
        sentences.append(
            f"The outer {head.map_margin} cell(s) of each map see padding only; they are cropped before drawing."
        )
    if "identity_tolerance_absolute" in verification:
        proven = (
            " The maps add up to the logits before its rounding." if "identity_error_unrounded" in verification else ""
        )
        sentences.append(
            f"The head is quantized.{proven} Its rounding changed a logit by "
            f"{verification['identity_error_absolute']:.3g} at most, and can change one by "
            f"{verification['identity_tolerance_absolute']:.3g}."
        )
    return tuple(sentences)


_HEAD_NOTES: dict[Head, str] = {
    "per_position": "The head is not linear: the map of a class is the logit that the head gives to each cell by "
    "itself; such maps do not add up to the logit.",
    "tokens": "The head reads one token or their mean: the map of a class is the logit that the head gives to each "
    "patch's token; such maps do not add up to the logit.",
    "masked": "The head mixes cells: the map of a class is the logit with all cells but one set to zero "
    "(Recipro-CAM); such maps do not add up to the logit.",
    "saliency_map": "The maps are the graph's own output 'saliency_map', unchanged.",
}
