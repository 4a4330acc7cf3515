"""The path that both doors lead to: classifier in ONNX -> model file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import onnx
from onnx import ModelProto

import camrt
from camrt.errors import ModelFileError, UsageError
from camrt.export import openvino_model_api
from camrt.export.graph.graph import Graph, opset_of
from camrt.export.graph.preprocessing import Pixels, Preprocessing
from camrt.export.graph.synthetic_images import read_images, synthetic_images
from camrt.export.graph.write import write_model
from camrt.export.head.class_maps import halves
from camrt.export.head.find import Head, find_head
from camrt.export.labels import check_labels, read_labels
from camrt.export.openvino_model_api import Stated
from camrt.export.rewrite import operate, prepare
from camrt.export.verify.map_cost import measure_cost
from camrt.export.verify.model import Forward, Subject, Verification, verify
from camrt.model_file import CLASS_MAPS, FEATURES, Activation, InputGeometry, Interpolation, ModelInfo, Resize
from camrt.model_file import Head as HeadKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the caller of either door asks for."""

    labels: Sequence[str] | str | Path | None
    output: str | None
    layer: str | None
    pixels: Pixels
    resize: Resize
    shorter_side: int | None
    interpolation: Interpolation
    size: tuple[int, int] | None
    """(width, height)."""
    activation: Activation | None
    pictures: str | Path | Sequence[str | Path] | None

    def __post_init__(self) -> None:
        if self.activation not in (None, *get_args(Activation)):
            raise UsageError(f"activation is {self.activation!r}; it must be softmax, sigmoid or none")

    def geometry(self, width: int, height: int) -> InputGeometry:
        """Return how frames become the network's input. Raises: UsageError."""
        try:
            return InputGeometry(
                width=width,
                height=height,
                resize=self.resize,
                shorter_side=self.shorter_side,
                interpolation=self.interpolation,
            )
        except ModelFileError as error:
            raise UsageError(str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found, what was assumed, and how the file was verified."""

    path: str
    """The file that was written."""
    head: HeadKind
    classes: int
    features: tuple[int, int, int]
    """(C, h, w) of the maps in the file; of all heads but "linear" C is the number of classes."""
    labels: tuple[str, ...] | None
    input: tuple[int, int]
    """(width, height) in pixels."""
    activation: Activation
    map_margin: int
    assumptions: tuple[str, ...]
    """One sentence for each thing that the file did not say and the caller did not state otherwise."""
    verification: Mapping[str, Any]


def convert(
    model: ModelProto, target: Path, request: Request, source_facts: Mapping[str, Any], forward: Forward | None = None
) -> Report:
    """Find the head, operate, verify, write.

    Args:
        model: a checked classifier; it is not changed.
        target: the file to write.
        request: what was asked for.
        source_facts: what the metadata says of the source.
        forward: the torch module that it was exported from.

    Raises:
        ExportError: the classifier cannot become a model file (`HeadNotFound`: because of its head), the new file
            fails its verification, or it cannot be written.
        UsageError: what was asked for does not fit the classifier.
        MissingExtra: ONNX Runtime is not installed.
    """
    stated = openvino_model_api.read(model)
    labels = read_labels(request.labels)
    pixels = request.pixels
    if stated is not None:
        labels, pixels = labels or stated.labels, pixels.completed(stated.pixels)
    graph, network_input = prepare(model, request.size)
    preprocessing = pixels.settle(network_input)
    geometry = request.geometry(network_input.width, network_input.height)
    head = find_head(graph, network_input, request.output, request.layer)
    if head.classes is not None:
        check_labels(labels, head.classes)
    activation = _activation(graph, head, request.activation)
    source_output = graph.shown(head.output)
    parts = None if head.tail is None else halves(graph, head.tail)
    operate(graph, network_input, head, preprocessing, activation)
    subject = Subject(
        model=graph.model,
        source=model,
        source_output=source_output,
        head=head,
        network_input=network_input,
        preprocessing=preprocessing,
        activation=activation,
        halves=parts,
    )
    if request.pictures is None:
        pictures, kind = synthetic_images(geometry.width, geometry.height), "synthetic"
    else:
        pictures, kind = read_images(request.pictures, geometry.width, geometry.height), "real"
    verification = verify(subject, pictures, kind, forward)
    record = dict(verification.record)
    if head.tail is not None:
        record |= measure_cost(graph.model, pictures)
    classes = verification.shapes["logits"][1]
    check_labels(labels, classes)
    info = ModelInfo(
        labels=labels,
        geometry=geometry,
        activation=activation,
        head=head.kind,
        map_margin=head.map_margin,
        preprocessing=preprocessing.describe(),
        source={**source_facts, **_facts(model), "output": source_output},
        verification=record,
    )
    _finish(graph.model, info, verification)
    write_model(graph.model, target)
    channels, height, width = verification.shapes[CLASS_MAPS if head.affine is None else FEATURES][1:]
    return Report(
        path=str(target),
        head=head.kind,
        classes=classes,
        features=(channels, height, width),
        labels=labels,
        input=(geometry.width, geometry.height),
        activation=activation,
        map_margin=head.map_margin,
        assumptions=tuple(_assumptions(head, request, preprocessing, labels, verification, stated)),
        verification=record,
    )


_NOTES: dict[HeadKind, str] = {
    "pooled_class_maps": "Each channel that the last convolution gives is taken for one class.",
    "per_position": "The head is not linear: a class's map is the logit that it gives to each cell by itself; such "
    "maps do not add up to the logit.",
    "tokens": "The head reads one token or their mean: a class's map is the logit that it gives to the token of each "
    "patch; such maps do not add up to the logit.",
    "masked": "The head mixes cells: a class's map is the logit with all cells but one set to zero (Recipro-CAM); such "
    "maps do not add up to the logit.",
    "saliency_map": "The graph's own output 'saliency_map' is shown as it is.",
}


def _activation(graph: Graph, head: Head, wanted: Activation | None) -> Activation:
    if head.activation is None:
        return wanted or "softmax"
    if wanted not in (None, head.activation):
        raise UsageError(
            f"activation {wanted!r} was asked for, but output {graph.shown(head.output)!r} is {head.activation} "
            "already; leave --activation (activation=...) out"
        )
    return head.activation


def _facts(model: ModelProto) -> dict[str, Any]:
    return {
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "opset": opset_of(model),
        "camrt": camrt.__version__,
        "onnx": onnx.__version__,
    }


def _finish(model: ModelProto, info: ModelInfo, verification: Verification) -> None:
    """State the shapes that running showed, and the metadata."""
    for output in model.graph.output:
        dimensions = output.type.tensor_type.shape.dim
        for dimension, length in zip(dimensions, verification.shapes[output.name], strict=True):
            if dimension.dim_param != "N":
                dimension.dim_value = length
    others = {
        entry.key: entry.value for entry in model.metadata_props if not entry.key.startswith(openvino_model_api.PREFIX)
    }
    onnx.helper.set_model_props(model, others | openvino_model_api.entries(info) | info.to_metadata())


def _assumptions(
    head: Head,
    request: Request,
    preprocessing: Preprocessing,
    labels: tuple[str, ...] | None,
    verification: Verification,
    stated: Stated | None,
) -> list[str]:
    sentences = []
    if stated is not None:
        sentences.append("What was not said is as the file's model_info says (OpenVINO Model API).")
    if preprocessing.is_imagenets:
        sentences.append(
            "The network is taken to want pixels / 255, normalised by ImageNet's mean and std (--scale, --mean, --std)."
        )
    if preprocessing.channels == "rgb" and stated is None:
        sentences.append("The network is taken to want RGB (--bgr).")
    if preprocessing.channels == "grey" and request.pixels.mean is None:
        sentences.append("The network is taken to want grey pixels / 255 (--scale, --mean, --std).")
    if request.resize == "stretch":
        sentences.append("Frames are stretched to the network's size, whatever their aspect ratio (--resize).")
    if head.activation is None and request.activation is None:
        sentences.append("The graph ends in logits; scores are taken to be their softmax (--activation).")
    if labels is None:
        sentences.append("Classes have no names, only numbers (--labels).")
    if head.kind in _NOTES:
        sentences.append(_NOTES[head.kind])
    if head.map_margin:
        sentences.append(
            f"The outer {head.map_margin} cell(s) of each map come from padding; they are kept out of the picture."
        )
    if "identity_tolerance_absolute" in verification.record:
        sentences.append(
            "The head is quantized, so maps and logits agree only up to its rounding: "
            f"{verification.record['identity_error_absolute']:.3g} at most here, "
            f"{verification.record['identity_tolerance_absolute']:.3g} at most by its own steps."
        )
    return sentences
