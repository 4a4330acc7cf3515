"""Find the classifier's head: everything between a feature map and the output.

Two heads are exact: their maps add up to the logits (Zhou et al. 2016, arXiv:1512.04150, section 2):

    linear             scores <- (activation) <- linear layer <- global average pool <- features
    pooled_class_maps  scores <- (activation) <- global average pool <- (Relu) <- 1x1 convolution, one map a class

Data movement (Flatten, Reshape, Dropout, Cast, QDQ pairs ...) may come between these steps. The search assumes that it
keeps the order of the numbers; the identity, checked before the file is written, proves it. Any other head is evaluated
on each cell of a map (`camrt.export.head.nonlinear`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from onnx import NodeProto

from camrt.errors import HeadNotFound, UsageError
from camrt.export.graph.data_movement import QdqPair, skip_data_movement
from camrt.export.graph.graph import Graph, attribute
from camrt.export.graph.network_input import NetworkInput
from camrt.export.head.affine import Affine, trace_affine
from camrt.export.head.class_maps import probe_linear
from camrt.export.head.diagnose import (
    OPS_WITHOUT_SCORES,
    describe_node,
    no_convolution_before_pool,
    no_layer_or_pool,
    no_pool_before_layer,
)
from camrt.export.head.nonlinear import NonlinearHead, find_nonlinear_head
from camrt.export.head.pooling import PooledMaps, find_pooled_maps
from camrt.export.head.split_points import SplitPoint, find_split_points
from camrt.model_file import SALIENCY_MAP, Activation, Head

ACTIVATIONS: dict[str, Activation] = {"Softmax": "softmax", "LogSoftmax": "softmax", "Sigmoid": "sigmoid"}

_ELEMENTWISE_OPS = {"Relu", "Cast", "Add", "Mul", "BatchNormalization"}
"""They may come between a convolution and the pool."""
_LAST_TOKENS = 3
"""Token sequences that are tried, from the end: a normalisation makes one more of the same tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierOutput:
    """An output of the graph and the steps that end it."""

    name: str
    """The tensor, [N, K] or [N, K, 1, 1]."""
    logits: str
    """The tensor before the activation and before any rounding of the output, [N, K] or [N, K, 1, 1]."""
    activation: Activation | None
    """The graph's own activation; None: the graph ends in logits."""
    is_log: bool
    """The output is the logarithm of the scores (LogSoftmax)."""
    is_quantized: bool
    """The graph rounds the output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierHead:
    """A head and its kind. Tensors have their names in the graph."""

    kind: Head
    output: ClassifierOutput
    classes: int | None
    """K; None where only a run shows it."""
    pooled: PooledMaps | None = None
    """Of an exact head: the maps that the pool averages."""
    affine: Affine | None = None
    """Of a "linear" head: everything after the pool."""
    nonlinear: NonlinearHead | None = None
    """Of a head that is evaluated per cell."""
    saliency_map: str | None = None
    """Of a "saliency_map" head: the graph's own output with one map a class."""
    map_margin: int = 0
    """Cells on each side of the maps that see padding only."""


def find_head(
    graph: Graph, network_input: NetworkInput, output: str | None = None, layer: str | None = None
) -> ClassifierHead:
    """Find the head of an output.

    Args:
        graph: the classifier, its shapes inferred.
        network_input: its input.
        output: the output that gives the scores; None: the only one with a head. Exact heads come first.
        layer: the tensor whose cells are shown; None: the last feature map.

    Raises:
        HeadNotFound: no output has a supported head; the message names the node and what to do.
        UsageError: ``output`` is no output, or is needed to choose one; or ``layer`` is no feature map.
    """
    names = [value.name for value in graph.proto.output if value.name != SALIENCY_MAP]
    saliency_map = next((value.name for value in graph.proto.output if value.name == SALIENCY_MAP), None)
    if output is not None and output not in names:
        raise UsageError(f"the graph has no output {output!r}; its outputs are: {', '.join(names)}")
    outputs, errors = [], []
    for name in [output] if output is not None else names:
        try:
            outputs.append(_read_output(graph, name))
        except HeadNotFound as error:
            errors.append(error)
    heads: list[ClassifierHead | HeadNotFound]
    if layer is not None:
        heads = [_head_at_layer(graph, network_input, entry, layer) for entry in outputs]
    else:
        heads = [_exact_head(graph, network_input, entry) for entry in outputs]
        exact = [head for head in heads if isinstance(head, ClassifierHead)]
        if saliency_map is not None and not exact:
            heads = [_saliency_map_head(graph, entry, saliency_map) for entry in outputs]
        elif all(_pools_one_cell(graph, head) for head in exact):
            heads = [
                _per_cell_head(graph, network_input, entry, head) for entry, head in zip(outputs, heads, strict=True)
            ]
    return _choose_head([*heads, *errors])


def _choose_head(results: Sequence[ClassifierHead | HeadNotFound]) -> ClassifierHead:
    """Return the only head among the results. Raises: HeadNotFound, UsageError."""
    heads = [result for result in results if isinstance(result, ClassifierHead)]
    errors = [result for result in results if isinstance(result, HeadNotFound)]
    if not heads:
        if len(errors) == 1:
            raise errors[0]
        raise HeadNotFound(f"none of the {len(errors)} outputs has a head whose maps can be shown:", *errors)
    if len({head.output.logits for head in heads}) == 1:  # logits and scores of one head: prefer the scores
        return next((head for head in heads if head.output.activation), heads[0])
    names = ", ".join(head.output.name for head in heads)
    raise UsageError(f"several outputs have a head: choose one with --output: {names}")


def _read_output(graph: Graph, name: str) -> ClassifierOutput:
    """Read the last steps of an output. Raises: HeadNotFound."""
    shape = graph.shape(name)
    if shape is not None and not (len(shape) == 2 or (len(shape) == 4 and shape[2:] == (1, 1))):
        raise HeadNotFound(
            f"output {name!r} has shape {_shape_text(shape)}, and a classifier gives [N, K]: detectors, segmentation "
            "networks and sequence models have no class activation map; if the network classifies too, choose that "
            "output with --output"
        )
    qdq_pairs: list[QdqPair] = []
    tensor = skip_data_movement(graph, name, qdq_pairs)
    node = graph.producer(tensor)
    activation = None if node is None else ACTIVATIONS.get(node.op_type)
    is_log = False
    if node is not None and activation is not None:
        _check_class_axis(graph, name, tensor, node)
        tensor = skip_data_movement(graph, node.input[0], qdq_pairs)
        is_log = node.op_type == "LogSoftmax"
    return ClassifierOutput(
        name=name, logits=tensor, activation=activation, is_log=is_log, is_quantized=bool(qdq_pairs)
    )


def _check_class_axis(graph: Graph, output: str, tensor: str, node: NodeProto) -> None:
    """Raise HeadNotFound if a softmax works along another axis than the classes."""
    if node.op_type == "Sigmoid":
        return
    axis = attribute(node, "axis", -1 if graph.opset >= 13 else 1)
    shape = graph.shape(tensor)
    if axis not in (1, 1 - (2 if shape is None else len(shape))):
        raise HeadNotFound(
            f"output {output!r}: {describe_node(node)} works along axis {axis}, and the classes are axis 1; export the "
            "classifier without it"
        )


def _exact_head(graph: Graph, network_input: NetworkInput, output: ClassifierOutput) -> ClassifierHead | HeadNotFound:
    """Return a head whose maps add up to the logits, or the reason why there is none."""
    affine = trace_affine(graph, output.logits)
    pooled = find_pooled_maps(graph, affine.data, network_input.size)
    if affine.is_layer:
        if pooled is None:
            return no_pool_before_layer(graph, output.name, output.logits, affine.data)
        return ClassifierHead(kind="linear", output=output, classes=len(affine.weights), pooled=pooled, affine=affine)
    if pooled is None or not affine.scales_nothing or affine.bias.any():
        return no_layer_or_pool(graph, output.name, output.logits)
    convolution = _last_convolution(graph, pooled.tensor)
    if convolution is None or _kernel_size(graph, convolution) != (1, 1) or pooled.layout != "nchw":
        return no_convolution_before_pool(graph, output.name, pooled.tensor)
    shape = graph.shape(pooled.tensor)
    margin = _map_margin(output.name, convolution)
    if isinstance(margin, HeadNotFound):
        return margin
    classes = None if shape is None else shape[1]
    return ClassifierHead(kind="pooled_class_maps", output=output, classes=classes, pooled=pooled, map_margin=margin)


def _saliency_map_head(graph: Graph, output: ClassifierOutput, saliency_map: str) -> ClassifierHead | HeadNotFound:
    """Return the head with the graph's own maps, as OpenVINO XAI and the Training Extensions insert them."""
    shape, scores_shape = graph.shape(saliency_map), graph.shape(output.name)
    classes = None if scores_shape is None else scores_shape[1]
    if shape is not None and (len(shape) != 4 or (classes is not None and shape[1] not in (None, classes))):
        return HeadNotFound(
            f"output {saliency_map!r} has shape {_shape_text(shape)}; supported is [N, K, h, w], one map for each of "
            f"the {classes} classes of {output.name!r}"
        )
    return ClassifierHead(kind="saliency_map", output=output, classes=classes, saliency_map=saliency_map)


def _pools_one_cell(graph: Graph, head: ClassifierHead) -> bool:
    """Tell whether an exact head pools a map of one cell, which shows nothing (VGG with its layers as convolutions)."""
    shape = None if head.pooled is None or head.pooled.grid else graph.shape(head.pooled.tensor)
    return shape is not None and shape.count(1) >= 2


def _per_cell_head(
    graph: Graph, network_input: NetworkInput, output: ClassifierOutput, exact: ClassifierHead | HeadNotFound
) -> ClassifierHead | HeadNotFound:
    """Return a head that is evaluated per cell; without one return ``exact``, or the reasons against both."""
    last = graph.producer(output.logits)
    if last is None or last.op_type in OPS_WITHOUT_SCORES:
        return exact
    *split_points, logits = find_split_points(graph, network_input, output.logits)
    reasons = []
    for split_point in _last_maps(split_points):
        nonlinear = find_nonlinear_head(graph, network_input, split_point, logits)
        if isinstance(nonlinear, NonlinearHead):
            return _classifier_head(graph, output, nonlinear)
        reasons.append(f"{split_point.tensor!r}: {nonlinear}")
    if not reasons or isinstance(exact, ClassifierHead):
        return exact
    first_and_last = "; ".join(dict.fromkeys([reasons[0], reasons[-1]]))
    return HeadNotFound(f"{exact}. Nor can the head be evaluated on each cell of a map: {first_and_last}")


def _last_maps(split_points: Sequence[SplitPoint]) -> list[SplitPoint]:
    """Return the split points to try, in order: the last token sequences, then the last feature map."""
    last_map = max((index for index, point in enumerate(split_points) if point.is_feature_map), default=0)
    tokens = [point for point in split_points[last_map:] if point.is_token_sequence]
    maps = [point for point in split_points[last_map : last_map + 1] if point.is_feature_map]
    return [*tokens[: -_LAST_TOKENS - 1 : -1], *maps]


def _classifier_head(graph: Graph, output: ClassifierOutput, nonlinear: NonlinearHead) -> ClassifierHead:
    """Return a head that is evaluated per cell, or a "linear" one if probing shows that it is linear."""
    affine = probe_linear(graph, nonlinear)
    if affine is None:
        return ClassifierHead(kind=nonlinear.mode, output=output, classes=nonlinear.classes, nonlinear=nonlinear)
    is_tokens = nonlinear.mode == "tokens"
    grid = (nonlinear.height, nonlinear.width) if is_tokens else None
    pooled = PooledMaps(nonlinear.feature_map, "ntc" if is_tokens else "nchw", grid)
    return ClassifierHead(kind="linear", output=output, classes=nonlinear.classes, pooled=pooled, affine=affine)


def _head_at_layer(
    graph: Graph, network_input: NetworkInput, output: ClassifierOutput, layer: str
) -> ClassifierHead | HeadNotFound:
    """Return the head that begins at the map called ``layer``. Raises: UsageError."""
    exact = _exact_head(graph, network_input, output)
    if isinstance(exact, ClassifierHead) and exact.pooled is not None and exact.pooled.tensor == layer:
        return exact
    *split_points, logits = find_split_points(graph, network_input, output.logits)
    maps = {point.tensor: point for point in split_points if point.is_feature_map or point.is_token_sequence}
    if layer not in maps:
        raise UsageError(
            f"{layer!r} is no feature map on every path to the logits; this network has: {', '.join(maps) or 'none'}"
        )
    nonlinear = find_nonlinear_head(graph, network_input, maps[layer], logits)
    if isinstance(nonlinear, NonlinearHead):
        return _classifier_head(graph, output, nonlinear)
    return HeadNotFound(f"the head cannot be evaluated on each cell of {layer!r}: {nonlinear}")


def _last_convolution(graph: Graph, tensor: str) -> NodeProto | None:
    """Return the convolution that computes a map, before elementwise operators."""
    while (node := graph.producer(skip_data_movement(graph, tensor))) is not None and node.op_type in _ELEMENTWISE_OPS:
        tensor = next((name for name in node.input if graph.constant(name) is None), "")
    return node


def _kernel_size(graph: Graph, node: NodeProto) -> tuple[int, ...] | None:
    weights = graph.constant(node.input[1]) if node.op_type in ("Conv", "ConvInteger") else None
    return None if weights is None else weights.shape[2:]


def _map_margin(output: str, convolution: NodeProto) -> int | HeadNotFound:
    """Return how many cells on each side of a 1x1 convolution's map see padding only."""
    pads = set(attribute(convolution, "pads", [0, 0, 0, 0]))
    strides = set(attribute(convolution, "strides", [1, 1]))
    if pads == {0} or attribute(convolution, "auto_pad", b"NOTSET") != b"NOTSET":
        return 0  # a 1x1 kernel needs no padding to keep the size, so SAME and VALID add none
    if len(pads) > 1 or strides != {1}:
        return HeadNotFound(
            f"output {output!r}: {describe_node(convolution)} pads its map by {sorted(pads)} with strides "
            f"{sorted(strides)}, so the map does not match the image; pad all sides alike, or not at all"
        )
    return int(pads.pop())


def _shape_text(shape: Sequence[int | None]) -> str:
    return f"[{', '.join('N' if index == 0 else str(length or '?') for index, length in enumerate(shape))}]"
