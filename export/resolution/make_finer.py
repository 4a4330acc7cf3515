"""Make the last stage of a classifier finer, and prove that it still computes what it did on the coarse grid."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from camrt.errors import ExportError
from camrt.export.graph.graph import Graph
from camrt.export.graph.network_input import NetworkInput
from camrt.export.head.find import ClassifierHead
from camrt.export.resolution.compare import largest_error, network_inputs, run_outputs, tolerance_of, with_input_shape
from camrt.export.resolution.follow_sizes import follow_sizes
from camrt.export.resolution.last_stage import LastStage
from camrt.export.resolution.tensor_sizes import TensorSizes

_KINDS = ("linear", "pooled_class_maps", "per_position")
"""Heads that pool a map, so that they take it in any size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinerClassifier:
    """A classifier whose last stage is finer."""

    graph: Graph
    """Ready for the head search."""
    record: Mapping[str, Any]
    """For the metadata."""
    remarks: tuple[str, ...]


def make_finer(graph: Graph, network_input: NetworkInput, head: ClassifierHead) -> FinerClassifier:
    """Return a classifier whose last maps have twice as many rows and columns.

    Args:
        graph: the classifier, ready for the head search; it is not changed.
        network_input: its input.
        head: its head.

    Raises:
        ExportError: there is no stage to make finer, the head takes maps of one size only, or a cell of the coarse grid
            has another value afterwards.
    """
    features, row = _feature_map(head)
    finer = graph.copy()
    finer.sort_topologically()
    old, new = TensorSizes(finer, network_input.shape), TensorSizes(finer, network_input.shape)
    old.walk()
    stage = LastStage(finer, old, features)
    strided = len(stage.strided)
    stage.refine()
    try:
        changes = follow_sizes(finer, old, new)
    except ExportError as reason:
        raise ExportError(f"the last stage cannot be made finer: {reason}. Leave --fine out") from reason
    result = Graph(with_input_shape(finer.model, ["N", *network_input.shape[1:]]))
    result.infer_shapes()
    coarse_map, fine_map = (_maps(part, network_input, features) for part in (graph, result))
    step = (slice(None),) * (row + 1) + (slice(None, None, 2),) * 2
    error = largest_error([fine_map[step]], [coarse_map])
    tolerance = tolerance_of(network_input)
    sizes = ["x".join(map(str, part.shape[row + 1 : row + 3])) for part in (coarse_map, fine_map)]
    if not error <= tolerance:
        raise ExportError(
            f"the last stage cannot be made finer: every second cell of the {sizes[1]} maps should equal the cells of "
            f"the {sizes[0]} maps (error {error:.3g}, tolerance {tolerance:.3g}), so the stage mixes cells in a way "
            "that has no finer form. Leave --fine out"
        )
    sentence = (
        f"The last stage is finer: {strided} operator(s) with stride 2 have stride 1 now, and maps have {sizes[1]} "
        f"cells instead of {sizes[0]}. Every second cell has the value of the coarse map."
    )
    record = {"fine_from": sizes[0], "fine_error": error}
    return FinerClassifier(graph=result, record=record, remarks=(sentence, *changes))


def _feature_map(head: ClassifierHead) -> tuple[str, int]:
    """Return the maps that are shown, and the axis of their rows without the batch. Raises: ExportError."""
    pooled = head.pooled
    if head.kind in _KINDS and pooled is not None and pooled.grid is None and pooled.layout in ("nchw", "nhwc"):
        return pooled.tensor, pooled.layout.index("h")
    if head.kind in _KINDS and head.nonlinear is not None:
        return head.nonlinear.feature_map, 2
    reasons = {
        "weighted_cells": "has a weight for each cell of its maps",
        "masked": "mixes the cells of its maps",
        "tokens": "reads tokens",
        "saliency_map": "brings its own maps",
    }
    raise ExportError(
        f"the last stage cannot be made finer: the head ({head.kind}) {reasons.get(head.kind, 'reads tokens')}; it "
        "must pool its maps. Leave --fine out"
    )


def _maps(graph: Graph, network_input: NetworkInput, features: str) -> NDArray[np.float64]:
    """Return the maps of synthetic images, (N, 1, ...)."""
    part = graph.copy()
    part.prune([helper.make_empty_tensor_value_info(features)])
    return run_outputs(part.model, [features], network_inputs(network_input), None)[0]
