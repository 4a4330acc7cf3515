"""Add graph nodes that compute class maps from a feature map, and build the models that verify them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper

from camrt.export.graph.graph import Graph
from camrt.export.graph.session import open_session, run_session
from camrt.export.head.affine import F64, Affine, Dense
from camrt.export.head.cell_weights import CellWeights
from camrt.export.head.nonlinear import NonlinearHead
from camrt.export.head.split_points import SHAPE_OPS

LINEAR_TOLERANCE = 1e-4
"""Largest relative error of a head that counts as linear; the identity on images then proves it."""
PROBE_MAPS = 4
"""Random maps that a head is probed on."""


def add_class_maps(graph: Graph, head: NonlinearHead) -> str:
    """Add nodes that evaluate the head on every cell.

    Args:
        graph: the classifier, or a copy of it; changed in place.
        head: its head.

    Returns: the tensor of the class maps, [N, K, h, w].
    """
    batch = _masked_maps(graph, head) if head.mode == "masked" else _cells_as_batch(graph, head)
    logits = _copy_head(graph, head, batch, prefix="maps", full_size=False)  # [N * cells, K]
    logits = graph.add_reshape(logits, [-1, head.height, head.width, head.classes])
    _detach_from_backbone(graph, head)
    return graph.add_node("Transpose", [logits], perm=[0, 3, 1, 2])


def add_weighted_maps(graph: Graph, head: CellWeights) -> str:
    """Add nodes that compute the share of each cell in each logit, times the number of cells.

    Args:
        graph: the classifier, or a copy of it; changed in place.
        head: its head.

    Returns: the tensor of the class maps, [N, K, h, w].
    """
    maps = head.feature_map
    if graph.elem_type(maps) != TensorProto.FLOAT:
        maps = graph.add_node("Cast", [maps], to=TensorProto.FLOAT)
    if (factors := _factorize(head.weights)) is not None:
        layer, pattern = factors
        scaled = graph.add_node("Mul", [maps, _float_constant(graph, "pattern", head.cells * pattern[None])])
        result = graph.add_node("Conv", [scaled, _float_constant(graph, "layer", layer[:, :, None, None])])
    else:
        cells = graph.add_node("Transpose", [maps], perm=[2, 3, 0, 1])  # [h, w, N, C]
        product = graph.add_node("MatMul", [cells, _weights_of_cells(graph, head)])
        shares = graph.add_node("Transpose", [product], perm=[2, 3, 0, 1])
        result = graph.add_node("Mul", [shares, _float_constant(graph, "cells", np.array(head.cells))])
    _detach_from_backbone(graph, head)
    return result


def _factorize(weights: F64) -> tuple[F64, F64] | None:
    """Return (layer [K, C], pattern [C, h, w]) with weights[k, c] = layer[k, c] * pattern[c]; None: there are none.

    A depthwise convolution or an average over a part of the map has them, and the product with them is small.
    """
    classes, channels, height, width = weights.shape
    flat = weights.reshape(classes, channels, -1)
    largest = np.abs(flat).max(axis=2).argmax(axis=0)  # (C,): the class with the largest weight
    pattern = flat[largest, np.arange(channels)]
    peak = np.abs(pattern).argmax(axis=1)
    scale = pattern[np.arange(channels), peak]
    layer = flat[:, np.arange(channels), peak] / np.where(scale == 0, 1, scale)
    error = np.abs(layer[:, :, None] * pattern - flat).max()
    if not error <= 1e-10 * np.abs(flat).max():
        return None
    return layer, pattern.reshape(channels, height, width)


def _weights_of_cells(graph: Graph, head: CellWeights) -> str:
    """Return the weights as a tensor [h, w, C, K]: a view of the graph's own where there is one.

    The matrix of a flattened map is most of a small network, so the file should hold it once.
    """
    # Order of the axes in a matrix [K, numbers] or [numbers, K], for maps with channels first or last.
    orders = ("kchw", "khwc", "chwk", "hwck")
    lengths = dict(zip("kchw", head.weights.shape, strict=True))
    for name in dict.fromkeys(name for node in head.nodes for name in node.input if name in graph.initializers):
        matrix = graph.constant(name)
        if matrix is None or matrix.size != head.weights.size or matrix.ndim != 2 or matrix.dtype != np.float32:
            continue
        for order in orders:
            shape = [lengths[axis] for axis in order]
            values = matrix.reshape(shape).transpose([order.index(axis) for axis in "kchw"])
            if np.array_equal(values, head.weights.astype(np.float32)):
                view = graph.add_reshape(name, shape)
                return graph.add_node("Transpose", [view], perm=[order.index(axis) for axis in "hwck"])
    return _float_constant(graph, "cell_weights", head.weights.transpose(2, 3, 1, 0))


def _float_constant(graph: Graph, stem: str, values: NDArray[Any]) -> str:
    return graph.add_initializer(stem, np.ascontiguousarray(values, np.float32))


def _detach_from_backbone(graph: Graph, head: NonlinearHead | CellWeights) -> None:
    """Make the head read nothing from before the feature map: it takes the batch size from the map.

    Exporters compute a size once, for the whole network. The nodes for it that the backbone needs too are duplicated.
    """
    backbone = {id(node) for node in graph.ancestors(head.feature_map)}
    copies: dict[str, str] = {}
    for output in [node.output[0] for node in head.nodes]:
        node = graph.producer(output)
        assert node is not None  # the graph is the one that the head was found in, or a copy
        if id(node) in backbone:
            node = NodeProto.FromString(node.SerializeToString())
            node.name = f"camrt/head/{node.name or output}"
            for index, name in enumerate(node.output):
                if name:
                    node.output[index] = copies[name] = graph.unique_name(f"head_{name}")
        for index, name in enumerate(node.input):
            node.input[index] = copies.get(name, name)
        if node.op_type in SHAPE_OPS and node.input[0] in head.batch_size_sources:
            node.input[0] = head.feature_map
        if node.output[0] != output:
            graph.proto.node.append(node)


def split_at_feature_map(graph: Graph, head: NonlinearHead) -> tuple[ModelProto, ModelProto]:
    """Return the backbone, from the network's input to the feature map, and the head, for maps of the full size."""
    backbone = graph.copy()
    backbone.prune([helper.make_empty_tensor_value_info(head.feature_map)])
    return backbone.model, _extract_head(graph, head, head.feature_shape[1:], full_size=True)


def single_cell_maps(head: NonlinearHead, feature_map: NDArray[Any]) -> NDArray[Any]:
    """Return a map for each cell of ``feature_map`` that shows this cell only, at the full size.

    Args:
        head: the head.
        feature_map: (C, h, w), or (T, C) of tokens.

    Returns: (cells, *feature_map.shape).
    """
    if head.mode == "masked":
        mask = np.eye(head.cells, dtype=feature_map.dtype).reshape(head.cells, 1, head.height, head.width)
        return np.asarray(feature_map * mask)
    if head.mode == "tokens":
        return np.broadcast_to(feature_map[-head.cells :, None], (head.cells, *feature_map.shape))
    cells = feature_map.reshape(len(feature_map), -1).T  # (cells, C)
    return np.broadcast_to(cells[:, :, None, None], (head.cells, *feature_map.shape))


def probe_linear(graph: Graph, head: NonlinearHead) -> Affine | None:
    """Run the head on random maps; return its weights on the mean of the map, or None if it is not linear.

    Some exporters hide a linear layer behind operators whose effect only a run shows (torch's ``as_strided``).
    """
    is_tokens = head.mode == "tokens"
    if head.mode == "masked" or (is_tokens and head.feature_shape[1] != head.cells):
        return None
    channels = head.feature_shape[2 if is_tokens else 1]
    dtype = helper.tensor_dtype_to_np_dtype(graph.elem_type(head.feature_map) or TensorProto.FLOAT)
    random = np.random.default_rng(0)
    maps = random.normal(0, 1, (PROBE_MAPS, *head.feature_shape[1:])).astype(dtype)
    basis = np.concatenate([np.zeros((1, channels), dtype), np.eye(channels, dtype=dtype)])
    cell = (1, channels) if is_tokens else (channels, 1, 1)
    name = "the classifier's head"
    on_maps = open_session(_extract_head(graph, head, head.feature_shape[1:], full_size=True), name)
    logits = run_session(on_maps, None, maps, name)[0].reshape(PROBE_MAPS, -1).astype(np.float64)
    on_cells = open_session(_extract_head(graph, head, cell, full_size=False), name)
    rows = run_session(on_cells, None, basis.reshape(-1, *cell), name)[0].astype(np.float64)
    if len(rows) != len(basis):  # the head mixes the images of a batch; the verification refuses it
        return None
    rows = rows.reshape(len(rows), -1)
    bias, weights = rows[0], (rows[1:] - rows[0]).T
    pooled = maps.astype(np.float64).mean(axis=1 if is_tokens else (2, 3))
    expected = pooled @ weights.T + bias
    if not np.abs(logits - expected).max() <= LINEAR_TOLERANCE * np.abs(expected).max():
        return None
    return Affine(head.feature_map, Dense(weights), bias)


def _extract_head(graph: Graph, head: NonlinearHead, shape: tuple[int, ...], *, full_size: bool) -> ModelProto:
    """Return the head as a model of its own: a batch of maps of ``shape`` in, logits out."""
    part = graph.copy()
    elem_type = graph.elem_type(head.feature_map) or TensorProto.FLOAT
    maps = helper.make_tensor_value_info(part.unique_name("entry"), elem_type, ["M", *shape])
    logits = _copy_head(part, head, maps.name, prefix="alone", full_size=full_size)
    del part.proto.input[:]
    part.proto.input.append(maps)
    part.prune([helper.make_empty_tensor_value_info(logits)])
    return part.model


def _copy_head(graph: Graph, head: NonlinearHead, maps: str, *, prefix: str, full_size: bool) -> str:
    """Add a copy of the head that reads ``maps``.

    Args:
        graph: changed in place.
        head: the head to copy.
        maps: the tensor that takes the feature map's place.
        prefix: of the new names.
        full_size: the maps have the feature map's size; False: they have one cell, or all but one cell is zero.

    Returns: the copy's logits.
    """
    names = {head.feature_map: maps, **dict.fromkeys(head.batch_size_sources, maps)}
    for node in head.nodes:
        copy = NodeProto()
        if full_size or node.output[0] not in head.skipped_outputs:
            copy.CopyFrom(node)
        else:
            copy = helper.make_node("Identity", [node.input[0]], [node.output[0]])
        copy.name = f"camrt/{prefix}/{node.name or node.output[0]}"
        for index, name in enumerate(copy.input):
            copy.input[index] = names.get(name, name)
        for index, name in enumerate(copy.output):
            if name:
                copy.output[index] = names[name] = graph.unique_name(f"{prefix}_{name}")
        graph.proto.node.append(copy)
    return names[head.logits]


def _cells_as_batch(graph: Graph, head: NonlinearHead) -> str:
    """Return [N * cells, C, 1, 1], or [N * cells, 1, C] of tokens."""
    if head.mode == "tokens":
        tensor = head.feature_map
        tokens, channels = head.feature_shape[1:]
        if tokens > head.cells:
            bounds = [np.array([value], np.int64) for value in (tokens - head.cells, tokens, 1)]
            tensor = graph.add_node("Slice", [tensor, *(graph.add_initializer("bound", bound) for bound in bounds)])
        return graph.add_reshape(tensor, [-1, 1, channels])
    cells = graph.add_node("Transpose", [head.feature_map], perm=[0, 2, 3, 1])
    return graph.add_reshape(cells, [-1, head.feature_shape[1], 1, 1])


def _masked_maps(graph: Graph, head: NonlinearHead) -> str:
    """Return [N * cells, C, h, w], each with one cell that is not zero."""
    channels, height, width = head.feature_shape[1:]
    dtype = helper.tensor_dtype_to_np_dtype(graph.elem_type(head.feature_map) or TensorProto.FLOAT)
    mask = np.eye(head.cells, dtype=dtype).reshape(1, head.cells, 1, height, width)
    tensor = graph.add_reshape(head.feature_map, [-1, 1, channels, height, width])
    tensor = graph.add_node("Mul", [tensor, graph.add_initializer("mask", mask)])
    return graph.add_reshape(tensor, [-1, channels, height, width])
