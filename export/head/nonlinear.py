"""A head that need not be linear: everything between a feature map and the logits.

The weights of a linear head say how much each cell of the map adds to a logit. Any other head is evaluated per cell:

    per_position  The head treats every cell alike up to one global pool. It then also accepts a map of one cell, so
                  each cell goes through it as such a map. For a linear head this is the class activation map plus its
                  bias, exactly.
    tokens        The same for a sequence of tokens (a vision transformer), of which the head reads the first or the
                  mean.
    masked        Any other head (a flattened map, further convolutions): it gets the map with all cells but one set
                  to zero (Recipro-CAM; Byun and Lee 2022, arXiv:2209.14074, section 3).

`camrt.export.head.class_maps` adds this to the graph, as one batch of all cells.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from onnx import NodeProto

from camrt.export.graph.graph import Graph, has_subgraphs, node_inputs
from camrt.export.graph.network_input import NetworkInput
from camrt.export.head.attention import has_attention
from camrt.export.head.pointwise import PointwiseTrace
from camrt.export.head.pooling import reduced_axes, token_grid
from camrt.export.head.split_points import SHAPE_OPS, SplitPoint, dependents

Mode = Literal["per_position", "tokens", "masked"]
MAX_MASKED_BYTES = 2**30
"""Limit for the masked copies of a map: more would not fit into the memory of a small device."""
EXTRA_TOKENS = range(6)
"""Possible numbers of tokens before the patches: class token, distillation token, registers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NonlinearHead:
    """A feature map and the nodes that compute the logits from it."""

    mode: Mode
    feature_map: str
    """The tensor, [N, C, h, w]; of mode "tokens" [N, T, C]."""
    feature_shape: tuple[int, ...]
    """Its shape for one image."""
    logits: str
    nodes: Sequence[NodeProto]
    height: int
    """h of the class maps."""
    width: int
    """w of the class maps."""
    classes: int
    batch_size_sources: frozenset[str]
    """Tensors from before the feature map of which the head reads the size; it needs the batch size only."""
    skipped_outputs: frozenset[str]
    """Outputs of nodes that a map of one cell skips: windows over the whole map, selections of tokens."""

    @property
    def cells(self) -> int:
        """Number of cells of the class maps."""
        return self.height * self.width


def find_nonlinear_head(
    graph: Graph, network_input: NetworkInput, split_point: SplitPoint, logits: SplitPoint
) -> NonlinearHead | str:
    """Return the head that begins at a split point, or the reason why it cannot be evaluated per cell."""
    nodes, batch_size_sources = nodes_between(graph, network_input.name, split_point.tensor, logits.tensor)
    if any(has_subgraphs(node) for node in nodes):
        return "a part of the network after it runs conditionally (If, Loop)"
    if any(_mixes_batch(graph, node) for node in nodes):
        return "the network mixes the images of a batch"
    if not any(has_weights(graph, node) for node in nodes):
        return "no layer with weights follows it"
    classes = math.prod(logits.shape[1:])
    if max(logits.shape[1:], default=0) != classes:
        return f"the logits have shape {list(logits.shape)}, not [N, K]"
    grid = _grid(split_point, network_input)
    if grid is None:
        return f"its {split_point.shape[1]} tokens are no grid of patches"
    mode: Mode = "tokens" if split_point.is_token_sequence else "per_position"
    trace = PointwiseTrace(graph, "ntc" if split_point.is_token_sequence else "nchw")
    if not trace.reaches_logits(nodes, split_point.tensor, logits.tensor):
        if split_point.is_token_sequence:
            return trace.obstacle or "it is not pooled"
        if has_attention(graph, nodes):
            return "attention follows it, and a map with one cell left has no meaning there"
        mode, size = "masked", 4 * math.prod(grid) * math.prod(split_point.shape[1:])
        if size > MAX_MASKED_BYTES:
            return (
                f"its {grid[0]}x{grid[1]} cells would be {math.prod(grid)} masked copies of {size / 2**30:.1f} GiB "
                "together; choose a smaller map, nearer the end"
            )
    return NonlinearHead(
        mode=mode,
        feature_map=split_point.tensor,
        feature_shape=split_point.shape,
        logits=logits.tensor,
        nodes=nodes,
        height=grid[0],
        width=grid[1],
        classes=classes,
        batch_size_sources=batch_size_sources,
        skipped_outputs=frozenset() if mode == "masked" else frozenset(trace.skipped_outputs),
    )


def _grid(split_point: SplitPoint, network_input: NetworkInput) -> tuple[int, int] | None:
    """Return (h, w) of a map, or of the patches among tokens."""
    if not split_point.is_token_sequence:
        return split_point.shape[2], split_point.shape[3]
    tokens = split_point.shape[1]
    return next((grid for extra in EXTRA_TOKENS if (grid := token_grid(tokens - extra, network_input.size))), None)


def nodes_between(
    graph: Graph, network_input: str, feature_map: str, logits: str
) -> tuple[list[NodeProto], frozenset[str]]:
    """Return the nodes from ``feature_map`` to ``logits``, and the earlier tensors of which they read the size."""
    after_map = dependents(graph, feature_map, by_size=False)
    on_input = dependents(graph, network_input, by_size=True)
    visited, batch_size_sources, pending = set(), set(), [logits]
    while pending:
        tensor = pending.pop()
        node = graph.producer(tensor)
        if tensor == feature_map or node is None or tensor not in on_input or id(node) in visited:
            continue
        visited.add(id(node))
        for name in node_inputs(node):
            if node.op_type in SHAPE_OPS and name not in after_map and name in on_input:
                batch_size_sources.add(name)
            else:
                pending.append(name)
    return [node for node in graph.proto.node if id(node) in visited], frozenset(batch_size_sources)


def _mixes_batch(graph: Graph, node: NodeProto) -> bool:
    return node.op_type.startswith("Reduce") and 0 in (reduced_axes(graph, node) or ())


def has_weights(graph: Graph, node: NodeProto) -> bool:
    """Tell whether a node is a layer with constant weights."""
    return node.op_type in ("Gemm", "MatMul", "Conv", "MatMulInteger", "ConvInteger") and any(
        graph.constant(name) is not None for name in node.input[1:2]
    )
