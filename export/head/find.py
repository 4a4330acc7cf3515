"""Find the classifier's head: everything between a feature map and the output.

Three heads are exact: their maps add up to the logits (Zhou et al. 2016, arXiv:1512.04150, section 2):

    linear             scores <- (activation) <- linear layer <- global average pool <- features
    pooled_class_maps  scores <- (activation) <- global average pool <- convolution, one map a class
    weighted_cells     scores <- (activation) <- anything affine, with weights for each cell <- features

Data movement (Flatten, Reshape, Dropout, Cast, QDQ pairs ...) may come between these steps. The search assumes that it
keeps the order of the numbers; the identity, checked before the file is written, proves it. Any other head is evaluated
on each cell of a map (`camrt.export.head.nonlinear`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from camrt.errors import HeadNotFound, UsageError
from camrt.export.graph.graph import Graph
from camrt.export.graph.network_input import NetworkInput
from camrt.export.head.affine import Affine, Dense
from camrt.export.head.cell_weights import CellWeights, find_cell_weights
from camrt.export.head.class_convolution import has_one_map_a_class, last_convolution
from camrt.export.head.class_maps import probe_linear
from camrt.export.head.classifier_output import ClassifierOutput, read_output, shape_text
from camrt.export.head.diagnose import (
    OPS_WITHOUT_SCORES,
    no_convolution_before_pool,
    no_layer_or_pool,
    no_pool_before_layer,
)
from camrt.export.head.map_margin import map_margin
from camrt.export.head.nonlinear import NonlinearHead, find_nonlinear_head
from camrt.export.head.pooling import PooledMaps, find_pooled_maps
from camrt.export.head.split_points import SplitPoint, find_split_points
from camrt.export.head.trace_affine import trace_affine
from camrt.model_file import SALIENCY_MAP, Head

_LAST_TOKENS = 3
"""Token sequences that are tried, from the end: a normalisation makes one more of the same tokens."""


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
    cell_weights: CellWeights | None = None
    """Of a "weighted_cells" head."""
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
            outputs.append(read_output(graph, network_input, name))
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
    raise UsageError(
        f"several outputs have a head: choose one with --output, or several for a file of several heads: {names}"
    )


def _exact_head(graph: Graph, network_input: NetworkInput, output: ClassifierOutput) -> ClassifierHead | HeadNotFound:
    """Return a head with a global average pool whose maps add up to the logits, or the reason why there is none."""
    affine = trace_affine(graph, output.logits)
    pooled = find_pooled_maps(graph, affine.data, network_input.size)
    if affine.is_layer:
        if pooled is None:
            return no_pool_before_layer(graph, output.name, output.logits, affine.data)
        return _with_margin(
            graph,
            ClassifierHead(kind="linear", output=output, classes=len(affine.weights), pooled=pooled, affine=affine),
            pooled.tensor,
        )
    if pooled is None:
        return no_layer_or_pool(graph, output.name, output.logits)
    convolution = last_convolution(graph, pooled.tensor)
    if not has_one_map_a_class(graph, output.activation, pooled.tensor, convolution):
        return no_convolution_before_pool(graph, output.name, pooled.tensor)
    shape = graph.shape(pooled.tensor)
    classes = None if shape is None else shape[pooled.layout.index("c")]
    if affine.scales_nothing and not affine.bias.any():
        head = ClassifierHead(kind="pooled_class_maps", output=output, classes=classes, pooled=pooled)
    elif classes is None:
        return no_layer_or_pool(graph, output.name, output.logits)
    else:
        layer = affine.as_layer(classes)
        head = ClassifierHead(kind="linear", output=output, classes=classes, pooled=pooled, affine=layer)
    return _with_margin(graph, head, pooled.tensor)


def _with_margin(graph: Graph, head: ClassifierHead, tensor: str) -> ClassifierHead | HeadNotFound:
    """Return a head with the margin of the map that it reads."""
    margin = map_margin(graph, head.output.name, tensor)
    return margin if isinstance(margin, HeadNotFound) else replace(head, map_margin=margin)


def _saliency_map_head(graph: Graph, output: ClassifierOutput, saliency_map: str) -> ClassifierHead | HeadNotFound:
    """Return the head with the graph's own maps, as OpenVINO XAI and the Training Extensions insert them."""
    shape, scores_shape = graph.shape(saliency_map), graph.shape(output.name)
    classes = None if scores_shape is None else scores_shape[1]
    if shape is not None and (len(shape) != 4 or (classes is not None and shape[1] not in (None, classes))):
        return HeadNotFound(
            f"output {saliency_map!r} has shape {shape_text(shape)}; supported is [N, K, h, w], one map for each of "
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
        earlier = _before_pools(graph, split_points, split_point)
        head = find_head_at(graph, network_input, output, earlier, logits)
        if earlier is not split_point and not (isinstance(head, ClassifierHead) and head.nonlinear is None):
            head = find_head_at(graph, network_input, output, split_point, logits)
        if isinstance(head, ClassifierHead):
            return head
        reasons.append(f"{split_point.tensor!r}: {head}")
    if not reasons or isinstance(exact, ClassifierHead):
        return exact
    first_and_last = "; ".join(dict.fromkeys([reasons[0], reasons[-1]]))
    return HeadNotFound(f"{exact}. Nor can the head be evaluated on each cell of a map: {first_and_last}")


def _before_pools(graph: Graph, split_points: Sequence[SplitPoint], last: SplitPoint) -> SplitPoint:
    """Return the feature map before the average pools that compute ``last``: it shows more cells."""
    maps = {point.tensor: point for point in split_points if point.is_feature_map}
    while (node := graph.producer(last.tensor)) is not None and node.op_type == "AveragePool":
        if node.input[0] not in maps:
            break
        last = maps[node.input[0]]
    return last


def _last_maps(split_points: Sequence[SplitPoint]) -> list[SplitPoint]:
    """Return the split points to try, in order: the last token sequences, then the last feature map."""
    last_map = max((index for index, point in enumerate(split_points) if point.is_feature_map), default=0)
    tokens = [point for point in split_points[last_map:] if point.is_token_sequence]
    maps = [point for point in split_points[last_map : last_map + 1] if point.is_feature_map]
    return [*tokens[: -_LAST_TOKENS - 1 : -1], *maps]


def find_head_at(
    graph: Graph, network_input: NetworkInput, output: ClassifierOutput, split_point: SplitPoint, logits: SplitPoint
) -> ClassifierHead | str:
    """Return the head that begins at a split point, an exact one if there is one, or the reason why there is none."""
    head = _head_without_margin(graph, network_input, output, split_point, logits)
    if isinstance(head, str):
        return head
    cropped = _with_margin(graph, head, split_point.tensor)
    return str(cropped) if isinstance(cropped, HeadNotFound) else cropped


def _head_without_margin(
    graph: Graph, network_input: NetworkInput, output: ClassifierOutput, split_point: SplitPoint, logits: SplitPoint
) -> ClassifierHead | str:
    if split_point.is_feature_map:
        weights = find_cell_weights(graph, network_input, split_point, logits)
        if weights is not None and weights.is_global:
            affine = Affine(split_point.tensor, Dense(weights.weights.sum(axis=(2, 3))), weights.bias)
            return ClassifierHead(kind="linear", output=output, classes=len(weights.bias),
                                  pooled=PooledMaps(split_point.tensor, "nchw"), affine=affine)  # fmt: skip
        if weights is not None:
            return ClassifierHead(kind="weighted_cells", output=output, classes=len(weights.bias), cell_weights=weights)
    nonlinear = find_nonlinear_head(graph, network_input, split_point, logits)
    return nonlinear if isinstance(nonlinear, str) else _nonlinear_head(graph, output, nonlinear)


def _nonlinear_head(graph: Graph, output: ClassifierOutput, nonlinear: NonlinearHead) -> ClassifierHead:
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
    head = find_head_at(graph, network_input, output, maps[layer], logits)
    if isinstance(head, ClassifierHead):
        return head
    return HeadNotFound(f"the head cannot be evaluated on each cell of {layer!r}: {head}")
