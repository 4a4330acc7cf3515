"""Look at a classifier before it is made a model file: its head, and the maps that could be shown."""

from dataclasses import dataclass
from pathlib import Path

from camrt.errors import CamrtError
from camrt.export.graph.read import read_classifier
from camrt.export.head.find import Head, find_head
from camrt.export.head.nonlinear import Tail, find_tail
from camrt.export.head.split_points import find_cuts
from camrt.export.rewrite import prepare


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A feature map that everything goes through, which ``layer`` of `camrt.export.attach` can name."""

    name: str
    shape: tuple[int, ...]
    """(C, h, w) of a map, (T, C) of tokens."""
    operator: str
    """What computes it."""
    head: str
    """The kind of head that begins there, or why none does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a classifier's file shows."""

    input: tuple[int, int]
    """(width, height) in pixels."""
    input_shape: tuple[int, ...]
    """Of one picture, as the network takes it."""
    outputs: tuple[str, ...]
    opset: int
    head: str | None
    """The kind of head that `camrt.export.attach` would take; None: it would refuse."""
    refusal: str | None
    """Why, then."""
    layers: tuple[Layer, ...]


def survey(source: str | Path, *, size: tuple[int, int] | None = None, output: str | None = None) -> Survey:
    """Look at an ONNX classifier; it is run once, on black.

    Args:
        source: the classifier.
        size: (width, height) in pixels, for a network that leaves it open.
        output: which of several outputs gives the scores.

    Raises:
        ExportError: it cannot be read or run.
        UsageError: the size or the output is needed, or does not fit.
        MissingExtra: ONNX Runtime is not installed.
    """
    graph, network_input = prepare(read_classifier(Path(source)), size)
    head, refusal = None, None
    try:
        head = find_head(graph, network_input, output)
    except CamrtError as error:
        refusal = str(error)
    layers: list[Layer] = []
    if head is not None:
        *cuts, logits = find_cuts(graph, network_input, head.logits)
        for cut in cuts:
            if cut.is_map or cut.is_row_of_tokens:
                tail = find_tail(graph, network_input, cut, logits)
                node = graph.producer(cut.tensor)
                layers.append(
                    Layer(
                        name=graph.shown(cut.tensor),
                        shape=cut.shape[1:],
                        operator="" if node is None else node.op_type,
                        head=_kind(head, cut.tensor, tail),
                    )
                )
    return Survey(
        input=network_input.size,
        input_shape=network_input.shape,
        outputs=tuple(graph.shown(value.name) for value in graph.proto.output),
        opset=graph.opset,
        head=None if head is None else head.kind,
        refusal=refusal,
        layers=tuple(layers),
    )


def _kind(head: Head, tensor: str, tail: Tail | str) -> str:
    if head.pooled is not None and head.pooled.tensor == tensor:
        return head.kind
    return tail.mode if isinstance(tail, Tail) else f"none: {tail}"
