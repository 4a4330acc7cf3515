"""Convert one head of a classifier: find it, rewrite the graph, verify it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto

import camrt
from camrt.export.check import check_preprocessing, read_labelled_images
from camrt.export.choose import choose_activation, choose_labels, choose_preprocessing
from camrt.export.graph.graph import Graph, opset_of
from camrt.export.graph.network_input import NetworkInput
from camrt.export.graph.one_logit import split_one_logit, two_sides
from camrt.export.graph.preprocessing import Preprocessing
from camrt.export.graph.read import Classifier
from camrt.export.graph.synthetic_images import Images, read_images, synthetic_images
from camrt.export.head.find import ClassifierHead, find_head
from camrt.export.head_options import without_stated_labels
from camrt.export.options import ConversionOptions
from camrt.export.report import Report, list_assumptions, list_limits, one_answer_warning
from camrt.export.resolution.make_finer import make_finer
from camrt.export.rewrite import load_graph, rewrite_graph
from camrt.export.source_metadata.collect import check_against_graph, collect, size_for_open_input
from camrt.export.verify.effect import measure_effect
from camrt.export.verify.exported import F32, Forward, ModelUnderTest, verify
from camrt.export.verify.map_cost import measure_map_cost
from camrt.model_file import LOGITS, Activation, ModelInfo, maps_output


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertedHead:
    """A verified head, ready to be written."""

    model: ModelProto
    """The graph of a model file with this head, without metadata."""
    info: ModelInfo
    report: Report
    images: Images
    """uint8 (N, H, W, 3): the images of the verification."""


def convert_head(
    classifier: Classifier,
    target: Path,
    options: ConversionOptions,
    source_info: Mapping[str, Any],
    *,
    several: bool,
    path: Path | None,
    forward: Forward | None,
) -> ConvertedHead:
    """Convert the head of the output that the options name; see `camrt.export.convert.convert`.

    Args:
        classifier: a checked classifier; it is not changed.
        target: the file to write, for the report.
        options: of this head.
        source_info: entries about the source for the metadata.
        several: it is one of several heads, so labels that the file states may belong to another.
        path: the classifier's file; None: it has none.
        forward: the torch module that the classifier was exported from.
    """
    model = classifier.model
    facts = collect(model, path, options.decided, output_is_named=options.output is not None)
    if several:
        facts = without_stated_labels(facts)
    one_logit: frozenset[str] = frozenset()
    if options.activation != "none":
        model, one_logit = split_one_logit(model, options.output)
    if classifier.own_size is not None and options.size is not None:
        facts = facts.at_size(classifier.own_size, options.size)
    graph, network_input = load_graph(model, options.size or size_for_open_input(model, facts.size))
    check_against_graph(facts, network_input)
    chosen_pixels = choose_preprocessing(options.preprocessing, facts, graph, network_input)
    preprocessing = chosen_pixels.value
    geometry = options.geometry(network_input.size, facts.resize)
    head = find_head(graph, network_input, options.output, options.layer)
    is_one_logit = head.output.name in one_logit
    chosen_labels = choose_labels(options, facts, head.classes, is_one_logit=is_one_logit)
    chosen_activation = choose_activation(options, facts, head, is_one_logit=is_one_logit)
    activation = chosen_activation.value
    if forward is not None and is_one_logit:
        forward = _two_sided(forward, model, head.output.name, are_probabilities=head.output.activation is not None)
    subject = _rewrite(model, graph, network_input, head, preprocessing, activation)
    if options.images is None:
        images, kind = synthetic_images(geometry.width, geometry.height), "synthetic"
    else:
        images, kind = read_images(options.images, geometry.width, geometry.height), "real"
    record, remarks, coarse = dict(classifier.record), classifier.remarks, None
    if options.fine:
        coarse = subject
        if forward is not None:  # torch knows the coarse stage only
            record |= {name: error for name, error in verify(coarse, images, kind, forward).record.items()
                       if name in ("torch_error", "features_error")}  # fmt: skip
            forward = None
        finer = make_finer(graph, network_input, head)
        record, remarks = {**record, **finer.record}, (*remarks, *finer.remarks)
        head = find_head(finer.graph, network_input, options.output, options.layer)
        subject = _rewrite(finer.graph.model, finer.graph, network_input, head, preprocessing, activation)
    verification = verify(subject, images, kind, forward)
    record |= verification.record
    if head.nonlinear is not None:
        record |= measure_map_cost(subject.model, images)
    classes = verification.shapes[LOGITS][1]
    if head.classes is None:
        chosen_labels = choose_labels(options, facts, classes, is_one_logit=is_one_logit)
    labels = chosen_labels.value
    check, labelled = None, None
    if options.check is not None:
        labelled = read_labelled_images(Path(options.check), labels, classes)
        check = check_preprocessing(subject.graph, network_input, head.output.name, preprocessing, geometry, labelled)
    effect = None
    if coarse is not None:
        pictures, truth = (images, None) if labelled is None else (labelled.fit(geometry), labelled.truth)
        effect = measure_effect(coarse.model, subject.model, pictures, kind if labelled is None else "labelled", truth)
        record |= effect.record()
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
    _set_output_shapes(subject.model, verification.shapes)
    channels, height, width = verification.shapes[maps_output(head.kind)][1:]
    report = Report(
        path=str(target),
        output=head.output.name,
        head=head.kind,
        classes=classes,
        features=(channels, height, width),
        labels=labels,
        input=(geometry.width, geometry.height),
        activation=activation,
        map_margin=head.map_margin,
        read=(*facts.sentences(), *chosen_labels.read),
        assumptions=(
            *chosen_pixels.assumed,
            *list_assumptions(
                head,
                resize_is_assumed="resize" not in {*options.decided, *facts.places},
                interpolation_is_assumed=options.interpolation is None,
            ),
            *chosen_activation.assumed,
            *chosen_labels.assumed,
            *facts.notes,
        ),
        remarks=(*remarks, *list_limits(network_input, head, record)),
        verification=record,
        warning=one_answer_warning(verification.answers, kind),
        check=check,
        fine=effect,
    )
    return ConvertedHead(model=subject.model, info=info, report=report, images=images)


def _rewrite(
    source: ModelProto,
    graph: Graph,
    network_input: NetworkInput,
    head: ClassifierHead,
    preprocessing: Preprocessing,
    activation: Activation,
) -> ModelUnderTest:
    """Return the graph of a model file, with all that its verification needs."""
    rewritten = rewrite_graph(graph, network_input, head, preprocessing, activation)
    return ModelUnderTest(
        model=rewritten.model,
        network_input_name=rewritten.network_input,
        source=source,
        graph=graph,
        head=head,
        network_input=network_input,
        preprocessing=preprocessing,
        activation=activation,
    )


def _two_sided(forward: Forward, model: ModelProto, output: str, *, are_probabilities: bool) -> Forward:
    """Return a module's run whose output of one number has two classes, as in `split_one_logit`."""
    index = [value.name for value in model.graph.output].index(output)

    def run(network_input: F32) -> tuple[list[F32], list[F32]]:
        outputs, pool_inputs = forward(network_input)
        sides = two_sides(outputs[index], are_probabilities=are_probabilities)
        return [*outputs[:index], np.asarray(sides, np.float32), *outputs[index + 1 :]], pool_inputs

    return run


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
