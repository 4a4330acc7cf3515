"""Find the classifier's head: what stands between a feature map and the output.

Two heads can be explained exactly (Zhou et al. 2016, arXiv:1512.04150, section 2):

    linear      scores <- (activation) <- linear layer <- global average pool <- features
    class_maps  scores <- (activation) <- global average pool <- (Relu) <- 1x1 convolution, one map a class

Whatever only moves numbers about (Flatten, Reshape, Dropout, Cast, a quantizer and its inverse ...) may stand between
them. The walk trusts that they do: the identity, computed before a file is written, is the proof. Any other head is
asked about each cell of a map in turn (`camrt.export.head.nonlinear`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from onnx import NodeProto

from camrt.errors import HeadNotFound, UsageError
from camrt.export.graph.data_movement import Quantizer, walk_back
from camrt.export.graph.graph import Graph, attribute
from camrt.export.graph.network_input import NetworkInput
from camrt.export.head.affine import Affine, trace_affine
from camrt.export.head.class_maps import as_affine
from camrt.export.head.diagnose import NO_SCORES, describe, refuse_class_maps, refuse_linear, refuse_pool
from camrt.export.head.nonlinear import Tail, find_tail
from camrt.export.head.pooling import Pooled, find_pooled
from camrt.export.head.split_points import find_cuts
from camrt.model_file import SALIENCY_MAP, Activation
from camrt.model_file import Head as HeadKind

ACTIVATIONS: dict[str, Activation] = {"Softmax": "softmax", "LogSoftmax": "softmax", "Sigmoid": "sigmoid"}

_ON_EACH_NUMBER = {"Relu", "Cast", "Add", "Mul", "BatchNormalization"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What the walk found; tensors are called by their names in the graph."""

    kind: HeadKind
    output: str
    """The graph's output, [N, K] or [N, K, 1, 1]."""
    activation: Activation | None
    """What the graph itself turns logits into scores with; None: it ends in logits."""
    log: bool
    """The output is the logarithm of the scores (LogSoftmax)."""
    logits: str
    """What the linear layer (or, without one, the pool) gives; [N, K] or [N, K, 1, 1]."""
    classes: int | None
    """K; None where the graph does not say before it runs."""
    pooled: Pooled | None = None
    """Of an exact head: what the pool averages."""
    affine: Affine | None = None
    """Of a "linear" head: all that stands behind the pool."""
    tail: Tail | None = None
    """Of a head whose cells are asked one by one."""
    maps: str | None = None
    """The output with a map a class that the graph has already (kind "saliency_map")."""
    map_margin: int = 0
    quantizes_output: bool = False
    """The graph rounds the logits once more before it ends; `logits` are those before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Output:
    """An output of the graph, and what was found of its last step."""

    name: str
    logits: str
    activation: Activation | None
    log: bool
    quantized: bool

    def head(self, **found: object) -> Head:
        return Head(
            output=self.name,
            activation=self.activation,
            log=self.log,
            logits=self.logits,
            quantizes_output=self.quantized,
            **found,  # type: ignore[arg-type]
        )


def find_head(graph: Graph, network_input: NetworkInput, wanted: str | None = None, layer: str | None = None) -> Head:
    """Find the head of an output.

    Args:
        graph: the classifier, its shapes inferred.
        network_input: its input.
        wanted: which output gives the scores; None: the only one that has a head, exact ones before others.
        layer: the tensor whose cells are shown; None: the last feature map.

    Raises:
        HeadNotFound: no output has a head that can be explained; the message names the node and what can be done.
        UsageError: ``wanted`` is not an output, or is needed to choose between several; or ``layer`` is no map.
    """
    outputs = {graph.shown(value.name): value.name for value in graph.proto.output}
    maps = outputs.pop(SALIENCY_MAP, None)
    if wanted is not None and wanted not in outputs:
        raise UsageError(f"the graph has no output {wanted!r}; its outputs are: {', '.join(outputs)}")
    read, refusals = [], []
    for name in [outputs[wanted]] if wanted is not None else outputs.values():
        try:
            read.append(_read_output(graph, name))
        except HeadNotFound as refusal:
            refusals.append(refusal)
    if layer is not None:
        found = [_at_layer(graph, network_input, output, layer) for output in read]
    else:
        found = [_exact_head(graph, network_input, output) for output in read]
        if maps is not None and not any(isinstance(entry, Head) for entry in found):
            found = [_with_saliency_map(graph, output, maps) for output in read]
        elif not any(isinstance(entry, Head) and not _is_one_cell(graph, entry) for entry in found):
            found = [_asked_head(graph, network_input, *pair) for pair in zip(read, found, strict=True)]
    return _only(graph, [*found, *refusals])


def _only(graph: Graph, found: Sequence[Head | HeadNotFound]) -> Head:
    """Return the one head among what was found, or say why there is none, or several."""
    heads = [entry for entry in found if isinstance(entry, Head)]
    refusals = [entry for entry in found if isinstance(entry, HeadNotFound)]
    if not heads:
        if len(refusals) == 1:
            raise refusals[0]
        reasons = "".join(f"\n  {refusal}" for refusal in refusals)
        raise HeadNotFound(f"none of the {len(refusals)} outputs has a head whose maps can be shown:{reasons}")
    if len({head.logits for head in heads}) == 1:  # logits and scores of one head: the scores say more
        return next((head for head in heads if head.activation), heads[0])
    names = ", ".join(graph.shown(head.output) for head in heads)
    raise UsageError(f"several outputs have a head: choose one with --output (output=...): {names}")


def _read_output(graph: Graph, output: str) -> _Output:
    shape = graph.shape(output)
    if shape is not None and not (len(shape) == 2 or (len(shape) == 4 and shape[2:] == (1, 1))):
        size = ", ".join("N" if index == 0 else str(dim or "?") for index, dim in enumerate(shape))
        raise HeadNotFound(
            f"output {graph.shown(output)!r} has shape [{size}], a classifier gives [N, K]: detectors, segmentation "
            "networks and sequence models have no class activation map; if the network classifies too, choose that "
            "output with --output"
        )
    last: list[Quantizer] = []
    tensor, activation, log = _skip_activation(graph, output, last)
    return _Output(name=output, logits=tensor, activation=activation, log=log, quantized=bool(last))


def _skip_activation(graph: Graph, output: str, quantizers: list[Quantizer]) -> tuple[str, Activation | None, bool]:
    tensor = walk_back(graph, output, quantizers)
    node = graph.producer(tensor)
    if node is None or node.op_type not in ACTIVATIONS:
        return tensor, None, False
    if node.op_type != "Sigmoid":
        axis = attribute(node, "axis", -1 if graph.opset >= 13 else 1)
        shape = graph.shape(tensor)
        if axis not in (1, 1 - (2 if shape is None else len(shape))):
            raise HeadNotFound(
                f"output {graph.shown(output)!r}: {describe(node)} works along axis {axis}, classes are axis 1"
            )
    return walk_back(graph, node.input[0], quantizers), ACTIVATIONS[node.op_type], node.op_type == "LogSoftmax"


def _exact_head(graph: Graph, network_input: NetworkInput, output: _Output) -> Head | HeadNotFound:
    """Return a head whose maps add up to the logits, or why it is none."""
    affine = trace_affine(graph, output.logits)
    pooled = find_pooled(graph, affine.data, network_input.size)
    if affine.is_layer:
        if pooled is None:
            return refuse_linear(graph, output.name, output.logits, affine.data)
        return output.head(kind="linear", pooled=pooled, affine=affine, classes=len(affine.linear))
    if pooled is None or not affine.scales_nothing or affine.bias.any():
        return refuse_pool(graph, output.name, output.logits)
    convolution = _last_convolution(graph, pooled.tensor)
    if convolution is None or _kernel(graph, convolution) != (1, 1) or pooled.layout != "nchw":
        return refuse_class_maps(graph, output.name, pooled.tensor)
    shape = graph.shape(pooled.tensor)
    classes = None if shape is None else shape[1]
    margin = _margin(graph, output.name, convolution)
    if isinstance(margin, HeadNotFound):
        return margin
    return output.head(kind="pooled_class_maps", pooled=pooled, classes=classes, map_margin=margin)


def _with_saliency_map(graph: Graph, output: _Output, maps: str) -> Head | HeadNotFound:
    """Return the head whose maps the graph gives already, as OpenVINO XAI and the Training Extensions make them."""
    shape, scores = graph.shape(maps), graph.shape(output.name)
    classes = None if scores is None else scores[1]
    if shape is not None and (len(shape) != 4 or (classes is not None and shape[1] not in (None, classes))):
        size = ", ".join("N" if index == 0 else str(dim or "?") for index, dim in enumerate(shape))
        return HeadNotFound(
            f"output {graph.shown(maps)!r} has shape [{size}]; shown can be [N, K, h, w], one map for each of the "
            f"{classes} classes of {graph.shown(output.name)!r}"
        )
    return output.head(kind="saliency_map", maps=maps, classes=classes)


def _is_one_cell(graph: Graph, head: Head) -> bool:
    """Tell whether an exact head pools a map of one cell, which shows nothing (VGG with its layers as convolutions)."""
    shape = None if head.pooled is None or head.pooled.grid else graph.shape(head.pooled.tensor)
    return shape is not None and shape.count(1) >= 2


def _asked_head(
    graph: Graph, network_input: NetworkInput, output: _Output, otherwise: Head | HeadNotFound
) -> Head | HeadNotFound:
    """Return a head whose cells are asked one by one, or why neither this nor an exact one is possible."""
    last = graph.producer(output.logits)
    if last is None or last.op_type in NO_SCORES:
        return otherwise
    *cuts, logits = find_cuts(graph, network_input, output.logits)
    last_map = max((index for index, cut in enumerate(cuts) if cut.is_map), default=0)
    tokens = [cut for cut in cuts[last_map:] if cut.is_row_of_tokens]
    asked = [*tokens[:-4:-1], *(cut for cut in cuts[last_map : last_map + 1] if cut.is_map)]
    reasons = []
    for cut in asked:
        tail = find_tail(graph, network_input, cut, logits)
        if isinstance(tail, Tail):
            return _head_of(graph, output, tail)
        reasons.append(f"{graph.shown(cut.tensor)!r}: {tail}")
    if not reasons or isinstance(otherwise, Head):
        return otherwise
    shown = "; ".join(dict.fromkeys([reasons[0], reasons[-1]]))
    return HeadNotFound(f"{otherwise}. Nor can it be asked about one cell of a map after the other, of {shown}")


def _head_of(graph: Graph, output: _Output, tail: Tail) -> Head:
    affine = as_affine(graph, tail)
    if affine is None:
        return output.head(kind=tail.mode, tail=tail, classes=tail.classes)
    tokens = tail.mode == "tokens"
    pooled = Pooled(tail.entry, "ntc", (tail.height, tail.width)) if tokens else Pooled(tail.entry, "nchw")
    return output.head(kind="linear", pooled=pooled, affine=affine, classes=tail.classes)


def _at_layer(graph: Graph, network_input: NetworkInput, output: _Output, layer: str) -> Head | HeadNotFound:
    """Return the head that begins at the map called ``layer``. Raises: UsageError."""
    exact = _exact_head(graph, network_input, output)
    if isinstance(exact, Head) and exact.pooled is not None and graph.shown(exact.pooled.tensor) == layer:
        return exact
    *cuts, logits = find_cuts(graph, network_input, output.logits)
    maps = {graph.shown(cut.tensor): cut for cut in cuts if cut.is_map or cut.is_row_of_tokens}
    if layer not in maps:
        raise UsageError(
            f"{layer!r} is no feature map that everything goes through; those of this network: "
            + (", ".join(maps) or "none")
        )
    tail = find_tail(graph, network_input, maps[layer], logits)
    if isinstance(tail, Tail):
        return _head_of(graph, output, tail)
    return HeadNotFound(f"the cells of {layer!r} cannot be asked one by one: {tail}")


def _last_convolution(graph: Graph, tensor: str) -> NodeProto | None:
    """Return the convolution that gives a map, over what works on each of its numbers by itself."""
    while (node := graph.producer(walk_back(graph, tensor))) is not None and node.op_type in _ON_EACH_NUMBER:
        tensor = next((name for name in node.input if graph.constant(name) is None), "")
    return node


def _kernel(graph: Graph, node: NodeProto) -> tuple[int, ...] | None:
    weights = graph.constant(node.input[1]) if node.op_type in ("Conv", "ConvInteger") else None
    return None if weights is None else weights.shape[2:]


def _margin(graph: Graph, output: str, convolution: NodeProto) -> int | HeadNotFound:
    """Return how many cells on each side of the map a padded 1x1 convolution made out of nothing."""
    pads = set(attribute(convolution, "pads", [0, 0, 0, 0]))
    strides = set(attribute(convolution, "strides", [1, 1]))
    if pads == {0} or attribute(convolution, "auto_pad", b"NOTSET") != b"NOTSET":
        return 0  # a 1x1 kernel needs no padding to keep the size, so SAME and VALID add none
    if len(pads) > 1 or strides != {1}:
        return HeadNotFound(
            f"output {graph.shown(output)!r}: {describe(convolution)} pads its map by {sorted(pads)} with strides "
            f"{sorted(strides)}, so the map cannot be laid over the picture; pad all sides alike, or not at all"
        )
    return int(pads.pop())
