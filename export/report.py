"""The report of a conversion: what was found, assumed and verified."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from camrt.export.check import PreprocessingCheck
from camrt.export.graph.network_input import NetworkInput
from camrt.export.head.find import ClassifierHead
from camrt.export.verify.effect import FineEffect
from camrt.model_file import Activation, Head


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of `camrt.export.attach` and `camrt.export.from_torch`."""

    path: str
    """The model file."""
    output: str
    """The classifier's output that gives the scores: the head's name in a file of several."""
    head: Head
    classes: int
    features: tuple[int, int, int]
    """(C, h, w) of the maps in the file. C is the number of classes unless the head is "linear"."""
    labels: tuple[str, ...] | None
    input: tuple[int, int]
    """(width, height) in pixels."""
    activation: Activation
    map_margin: int
    read: tuple[str, ...]
    """One sentence for each place that states something about the classifier: what was read there."""
    assumptions: tuple[str, ...]
    """One sentence for each assumption about the classifier."""
    remarks: tuple[str, ...]
    """One sentence for each choice and repair that was made, and for each limit of the maps."""
    verification: Mapping[str, Any]
    """Errors, tolerances and images of the verification, as in the file's metadata."""
    warning: str | None = None
    """A sign that the preprocessing is wrong."""
    check: PreprocessingCheck | None = None
    """Accuracy on labelled images, if they were passed."""
    fine: FineEffect | None = None
    """Effect of the finer last stage, if there is one."""
    heads: tuple["Report", ...] = ()
    """The report of each head of a file with several; the first is this one, too."""


def list_assumptions(
    head: ClassifierHead, *, resize_is_assumed: bool, interpolation_is_assumed: bool
) -> tuple[str, ...]:
    """Return the sentences for `Report.assumptions` about frames and maps.

    Args:
        head: the head that was found.
        resize_is_assumed: neither an option nor the file says how frames become the network's input.
        interpolation_is_assumed: no option says how they are resized.
    """
    sentences = []
    if resize_is_assumed:
        sentences.append("Frames are stretched to the network's size, whatever their aspect ratio (--resize).")
    if interpolation_is_assumed:
        sentences.append(
            "The network is assumed to be trained on images resized with antialiasing, as by Pillow and torchvision "
            "(--interpolation)."
        )
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


def one_answer_warning(answers: Sequence[int], kind: str) -> str | None:
    """Return a warning if several real images all get one class; None otherwise.

    Args:
        answers: the best class of each image.
        kind: of the images; synthetic ones show nothing, so one class for all of them is no sign.
    """
    if kind != "real" or len(answers) < _FEWEST_IMAGES or len(set(answers)) > 1:
        return None
    return (
        f"All {len(answers)} images get one answer, class {answers[0]}. If they show different things, the "
        "preprocessing is wrong: --check FOLDER, with a sub-folder for each class, compares the likely ones."
    )


_FEWEST_IMAGES = 3
_HEAD_NOTES: dict[Head, str] = {
    "per_position": "The head is not linear: the map of a class is the logit that the head gives to each cell by "
    "itself; such maps do not add up to the logit.",
    "tokens": "The head reads one token or their mean: the map of a class is the logit that the head gives to each "
    "patch's token; such maps do not add up to the logit.",
    "masked": "The head mixes cells: the map of a class is the logit with all cells but one set to zero "
    "(Recipro-CAM); such maps do not add up to the logit.",
    "saliency_map": "The maps are the graph's own output 'saliency_map', unchanged.",
}
