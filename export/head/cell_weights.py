"""Find heads that are affine in a feature map: the share of each cell in each logit is known exactly.

    logit[k] = bias[k] + sum over c, y, x of weights[k, c, y, x] * map[c, y, x]

A map that is flattened into one linear layer is such a head, and a depthwise convolution or an average over a part of
the map, with linear layers after it. `camrt.export.head.backward` follows the logits back to the map.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto

from camrt.export.graph.graph import Graph
from camrt.export.graph.network_input import NetworkInput
from camrt.export.head.affine import F64
from camrt.export.head.backward import BackwardWalk, may_be_affine
from camrt.export.head.nonlinear import has_weights, nodes_between
from camrt.export.head.split_points import SHAPE_OPS, SplitPoint, run_tensors

MAX_NUMBERS = 2**27
"""Limit for the numbers of one tensor times the classes: 1 GiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellWeights:
    """An affine head. Tensors have their names in the graph."""

    feature_map: str
    """The tensor, [N, C, h, w]."""
    nodes: Sequence[NodeProto]
    """From the map to the logits."""
    batch_size_sources: frozenset[str]
    """Tensors from before the feature map of which the head reads the size; it needs the batch size only."""
    weights: F64
    """[K, C, h, w]."""
    bias: F64
    """[K]."""

    @property
    def is_global(self) -> bool:
        """True where each cell has the same weights: the head is a linear layer on the mean of the map."""
        return bool(np.ptp(self.weights, axis=(2, 3)).max() <= 1e-12 * np.abs(self.weights).max())

    @property
    def cells(self) -> int:
        """Number of cells of the map."""
        return math.prod(self.weights.shape[2:])


def find_cell_weights(
    graph: Graph, network_input: NetworkInput, split_point: SplitPoint, logits: SplitPoint
) -> CellWeights | None:
    """Return the weights of the cells of a feature map; None: the head after it is not affine.

    Args:
        graph: the classifier, its shapes inferred.
        network_input: its input.
        split_point: a feature map.
        logits: the logits.
    """
    nodes, batch_size_sources = nodes_between(graph, network_input.name, split_point.tensor, logits.tensor)
    steps = [node for node in nodes if node.op_type not in SHAPE_OPS]
    if not may_be_affine(steps):
        return None
    if not any(has_weights(graph, node) for node in steps):  # a network that gives features, not scores
        return None
    names = [split_point.tensor, *dict.fromkeys(node.output[0] for node in steps)]
    shapes = {name: value.shape for name, value in zip(names, run_tensors(graph, network_input, names), strict=True)}
    classes = math.prod(logits.shape)
    if max(logits.shape) != classes or max(map(math.prod, shapes.values())) * classes > MAX_NUMBERS:
        return None
    walk = BackwardWalk(graph, shapes, classes)
    walk.shares[logits.tensor] = np.eye(classes).reshape(classes, *logits.shape)
    for node in reversed(steps):
        if not walk.step(node):
            return None
    share = walk.shares.get(split_point.tensor)
    if share is None or not share.any():
        return None
    return CellWeights(
        feature_map=split_point.tensor,
        nodes=nodes,
        batch_size_sources=batch_size_sources,
        weights=share[:, 0],
        bias=walk.bias,
    )
