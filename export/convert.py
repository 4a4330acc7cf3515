"""Convert a classifier in ONNX to a model file: the path that `attach` and `from_torch` share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto

import camrt
from camrt.errors import UsageError
from camrt.export.graph.graph import opset_of
from camrt.export.graph.read import Classifier
from camrt.export.graph.synthetic_images import read_images, synthetic_images
from camrt.export.graph.write import write_model
from camrt.export.head.find import ClassifierHead, find_head
from camrt.export.labels import check_labels, read_labels
from camrt.export.openvino_model_api import KEY_PREFIX, model_info_entries, read_model_info
from camrt.export.options import ConversionOptions
from camrt.export.report import Report, list_assumptions, list_limits
from camrt.export.rewrite import load_graph, rewrite_graph
from camrt.export.verify.exported import Forward, ModelUnderTest, verify
from camrt.export.verify.map_cost import measure_map_cost
from camrt.model_file import LOGITS, Activation, ModelInfo, maps_output


def convert(
    classifier: Classifier,
    target: Path,
    options: ConversionOptions,
    source_info: Mapping[str, Any],
    forward: Forward | None = None,
) -> Report:
    """Find the head, rewrite the graph, verify it, write it.

    Args:
        classifier: a checked classifier; it is not changed.
        target: the file to write.
        options: of the caller.
        source_info: entries about the source for the metadata.
        forward: the torch module that the classifier was exported from.

    Raises:
        ExportError: the classifier cannot become a model file (`HeadNotFound`: because of its head), the new file
            fails its verification, or it cannot be written.
        UsageError: an option does not fit the classifier.
        MissingExtra: ONNX Runtime is not installed.
    """
    model = classifier.model
    labels = read_labels(options.labels)
    preprocessing_options = options.preprocessing
    model_info = read_model_info(model)
    if model_info is not None:
        labels = labels or model_info.labels
        preprocessing_options = preprocessing_options.with_fallback(model_info.preprocessing)
    graph, network_input = load_graph(model, options.size)
    preprocessing = preprocessing_options.resolve(network_input)
    geometry = options.geometry(network_input.width, network_input.height)
    head = find_head(graph, network_input, options.output, options.layer)
    if head.classes is not None:
        check_labels(labels, head.classes)
    activation = _activation(head, options.activation)
    rewritten = rewrite_graph(graph, network_input, head, preprocessing, activation)
    if options.images is None:
        images, kind = synthetic_images(geometry.width, geometry.height), "synthetic"
    else:
        images, kind = read_images(options.images, geometry.width, geometry.height), "real"
    verification = verify(
        ModelUnderTest(
            model=rewritten.model,
            network_input_name=rewritten.network_input,
            source=model,
            graph=graph,
            head=head,
            network_input=network_input,
            preprocessing=preprocessing,
            activation=activation,
        ),
        images,
        kind,
        forward,
    )
    record = dict(verification.record)
    if head.nonlinear is not None:
        record |= measure_map_cost(rewritten.model, images)
    classes = verification.shapes[LOGITS][1]
    check_labels(labels, classes)
    info = ModelInfo(
        labels=labels,
        geometry=geometry,
        activation=activation,
        head=head.kind,
        map_margin=head.map_margin,
        preprocessing=preprocessing.describe(),
        source={**source_info, **_describe_source(model), "output": head.output.name},
        verification=record,
    )
    _set_output_shapes(rewritten.model, verification.shapes)
    _set_metadata(rewritten.model, info)
    write_model(rewritten.model, target)
    channels, height, width = verification.shapes[maps_output(head.kind)][1:]
    return Report(
        path=str(target),
        head=head.kind,
        classes=classes,
        features=(channels, height, width),
        labels=labels,
        input=(geometry.width, geometry.height),
        activation=activation,
        map_margin=head.map_margin,
        assumptions=list_assumptions(
            head, options, preprocessing, has_labels=labels is not None, has_model_info=model_info is not None
        ),
        remarks=(*classifier.remarks, *list_limits(network_input, head, record)),
        verification=record,
    )


def _activation(head: ClassifierHead, option: Activation | None) -> Activation:
    """Return what turns logits into scores: the graph's own activation, the caller's option, or softmax."""
    own = head.output.activation
    if own is None:
        return option or "softmax"
    if option not in (None, own):
        raise UsageError(
            f"activation {option!r} does not fit: output {head.output.name!r} is {own} already; leave --activation "
            "(activation=...) out"
        )
    return own


def _describe_source(model: ModelProto) -> dict[str, Any]:
    return {
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "opset": opset_of(model),
        "camrt": camrt.__version__,
        "onnx": onnx.__version__,
    }


def _set_output_shapes(model: ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Fill in the lengths that only a run shows."""
    for output in model.graph.output:
        dimensions = output.type.tensor_type.shape.dim
        for dimension, length in zip(dimensions, shapes[output.name], strict=True):
            if dimension.dim_param != "N":
                dimension.dim_value = length


def _set_metadata(model: ModelProto, info: ModelInfo) -> None:
    """Write the metadata. Entries of other tools stay, except OpenVINO's, which describe the source."""
    others = {entry.key: entry.value for entry in model.metadata_props if not entry.key.startswith(KEY_PREFIX)}
    onnx.helper.set_model_props(model, others | model_info_entries(info) | info.to_metadata())
