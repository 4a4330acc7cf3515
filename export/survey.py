"""Survey a classifier before it is converted: its head, and the maps that could be shown."""

from dataclasses import dataclass
from pathlib import Path

from camrt.errors import CamrtError
from camrt.export.choose import Choice, choose_preprocessing
from camrt.export.graph.fixed_inputs import FixedInputs, fix_inputs
from camrt.export.graph.graph import Graph
from camrt.export.graph.network_input import NetworkInput
from camrt.export.graph.one_logit import split_one_logit
from camrt.export.graph.preprocessing import Preprocessing, PreprocessingOptions
from camrt.export.graph.read import read_classifier
from camrt.export.head.find import ClassifierHead, find_head, find_head_at
from camrt.export.head.split_points import SplitPoint, find_split_points
from camrt.export.resolution.change_size import change_size
from camrt.export.rewrite import load_graph
from camrt.export.source_metadata.collect import (
    Property,
    SourceFacts,
    check_against_graph,
    collect,
    size_for_open_input,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A feature map that the option ``layer`` of `camrt.export.attach` can name."""

    name: str
    shape: tuple[int, ...]
    """(C, h, w) of a map, (T, C) of tokens."""
    operator: str
    """The operator that computes it."""
    head: str
    """The kind of head that begins there, or the reason why there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """The properties of a classifier's file."""

    input: tuple[int, int]
    """(width, height) in pixels."""
    input_shape: tuple[int, ...]
    """Shape of one image, as the network takes it."""
    outputs: tuple[str, ...]
    opset: int
    head: str | None
    """The kind of head that `camrt.export.attach` would use; None: it would refuse the file."""
    refusal: str | None
    """The reason for refusing the file."""
    read: tuple[str, ...]
    """One sentence for each place that states something about the classifier: what was read there."""
    assumptions: tuple[str, ...]
    """One sentence for each assumption about the network's input."""
    layers: tuple[Layer, ...]
    remarks: tuple[str, ...]
    """One sentence for each repair that `camrt.export.attach` makes."""


def survey(
    source: str | Path,
    *,
    size: tuple[int, int] | None = None,
    output: str | None = None,
    fix: FixedInputs | None = None,
) -> Survey:
    """Survey an ONNX classifier; it runs once, on a black image.

    Args:
        source: the classifier.
        size: (width, height) in pixels, for a network that leaves it open, or to change a fixed one.
        output: the output that gives the scores; needed where several could.
        fix: a constant for each input besides the image; see `camrt.export.attach`.

    Raises:
        ExportError: the file cannot be read or run.
        UsageError: the size or the output is needed, or does not fit.
        MissingExtra: ONNX Runtime is not installed.
    """
    classifier = read_classifier(Path(source))
    fixed = fix_inputs(classifier.model, fix or {})
    if size is not None:
        classifier = change_size(classifier, size)
    model = classifier.model
    head, refusal, facts = None, None, SourceFacts()
    pixels: Choice[Preprocessing] | None = None
    decided: tuple[Property, ...] = () if size is None else ("size",)
    try:
        facts = collect(model, Path(source), decided, output_is_named=output is not None)
        model, _ = split_one_logit(model, output)
    except CamrtError as error:
        refusal = str(error)
    graph, network_input = load_graph(model, size or size_for_open_input(model, facts.size))
    if refusal is None:
        try:
            check_against_graph(facts, network_input)
            pixels = choose_preprocessing(PreprocessingOptions(), facts, graph, network_input)
            head = find_head(graph, network_input, output)
        except CamrtError as error:
            refusal = str(error)
    return Survey(
        input=network_input.size,
        input_shape=network_input.shape,
        outputs=tuple(value.name for value in graph.proto.output),
        opset=graph.opset,
        head=None if head is None else head.kind,
        refusal=refusal,
        read=facts.sentences(),
        assumptions=(*(() if pixels is None else pixels.assumed), *facts.notes),
        layers=() if head is None else _layers(graph, network_input, head),
        remarks=(*classifier.remarks, *fixed),
    )


def _layers(graph: Graph, network_input: NetworkInput, head: ClassifierHead) -> tuple[Layer, ...]:
    *split_points, logits = find_split_points(graph, network_input, head.output.logits)
    layers = []
    for split_point in split_points:
        if split_point.is_feature_map or split_point.is_token_sequence:
            node = graph.producer(split_point.tensor)
            layers.append(
                Layer(
                    name=split_point.tensor,
                    shape=split_point.shape[1:],
                    operator="" if node is None else node.op_type,
                    head=_head_kind(graph, network_input, head, split_point, logits),
                )
            )
    return tuple(layers)


def _head_kind(
    graph: Graph, network_input: NetworkInput, head: ClassifierHead, split_point: SplitPoint, logits: SplitPoint
) -> str:
    if head.pooled is not None and head.pooled.tensor == split_point.tensor:
        return head.kind
    found = find_head_at(graph, network_input, head.output, split_point, logits)
    return found.kind if isinstance(found, ClassifierHead) else f"none: {found}"
