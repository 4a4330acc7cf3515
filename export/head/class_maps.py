"""Ask a tail what it says of each cell of its map: by nodes of the graph, and by models of its own that prove those."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper

from camrt.export.graph import session as ort
from camrt.export.graph.graph import Graph
from camrt.export.head.affine import Affine
from camrt.export.head.nonlinear import Tail
from camrt.export.head.split_points import SHAPE_READERS

LINEAR = 1e-4
"""Relative error up to which a tail counts as linear; the identity on pictures then proves it."""
TRIALS = 4
"""Random maps that it is tried on."""


def add_class_maps(graph: Graph, tail: Tail) -> str:
    """Add nodes that ask about every cell; returns the tensor [N, K, h, w] that they give."""
    batch = _mask(graph, tail) if tail.mode == "masked" else _cut_up(graph, tail)
    logits = _add_copy(graph, tail, batch, prefix="maps", whole=False)  # [N * cells, K]
    logits = graph.add_reshape(logits, [-1, tail.height, tail.width, tail.classes])
    _read_the_map_only(graph, tail)
    return graph.add_node("Transpose", [logits], perm=[0, 3, 1, 2])


def _read_the_map_only(graph: Graph, tail: Tail) -> None:
    """Let what is behind the map take the size of the batch from it, and read nothing else.

    Exporters work out a size once, for all of the network: what the part before the map needs of that is doubled.
    """
    before = {id(node) for node in graph.ancestors(tail.entry)}
    names: dict[str, str] = {}
    for node in tail.nodes:
        own = node
        if id(node) in before:
            own = NodeProto.FromString(node.SerializeToString())
            own.name = f"camrt/behind/{node.name or node.output[0]}"
            for index, name in enumerate(own.output):
                own.output[index] = names[name] = graph.fresh(f"behind_{name}")
        for index, name in enumerate(own.input):
            own.input[index] = names.get(name, name)
        if own.op_type in SHAPE_READERS and own.input[0] in tail.rewired:
            own.input[0] = tail.entry
        if own is not node:
            graph.proto.node.append(own)


def halves(graph: Graph, tail: Tail) -> tuple[ModelProto, ModelProto]:
    """Return the classifier up to the map, and what is behind it for a batch of maps of the full size."""
    front = graph.copy()
    front.prune([helper.make_empty_tensor_value_info(tail.entry)])
    return front.model, _alone(graph, tail, tail.entry_shape[1:], whole=True)


def one_cell_each(tail: Tail, entry: NDArray[Any]) -> NDArray[Any]:
    """Return as many maps as there are cells, (cells, *entry.shape), each of which shows one cell of ``entry`` only."""
    if tail.mode == "masked":
        mask = np.eye(tail.cells, dtype=entry.dtype).reshape(tail.cells, 1, tail.height, tail.width)
        return np.asarray(entry * mask)
    if tail.mode == "tokens":
        return np.broadcast_to(entry[-tail.cells :, None], (tail.cells, *entry.shape))
    cells = entry.reshape(len(entry), -1).T  # (cells, C)
    return np.broadcast_to(cells[:, :, None, None], (tail.cells, *entry.shape))


def as_affine(graph: Graph, tail: Tail) -> Affine | None:
    """Return the tail as weights on the mean of its map, if that is what it computes; found by trying.

    Exporters hide a linear layer behind steps that only a run sees through (what torch makes of ``as_strided``, say).
    """
    tokens = tail.mode == "tokens"
    if tail.mode == "masked" or (tokens and tail.entry_shape[1] != tail.cells):
        return None
    channels = tail.entry_shape[2 if tokens else 1]
    dtype = helper.tensor_dtype_to_np_dtype(graph.elem_type(tail.entry) or TensorProto.FLOAT)
    random = np.random.default_rng(0)
    maps = random.normal(0, 1, (TRIALS, *tail.entry_shape[1:])).astype(dtype)
    basis = np.concatenate([np.zeros((1, channels), dtype), np.eye(channels, dtype=dtype)])
    cell = (1, channels) if tokens else (channels, 1, 1)
    whole = ort.open_session(_alone(graph, tail, tail.entry_shape[1:], whole=True), "the classifier's head")
    found = ort.run(whole, None, maps, "the classifier's head")[0].reshape(TRIALS, -1).astype(np.float64)
    single = ort.open_session(_alone(graph, tail, cell, whole=False), "the classifier's head")
    rows = ort.run(single, None, basis.reshape(-1, *cell), "the classifier's head")[0].astype(np.float64)
    rows = rows.reshape(len(rows), -1)
    bias, linear = rows[0], (rows[1:] - rows[0]).T
    pooled = maps.astype(np.float64).mean(axis=1 if tokens else (2, 3))
    expected = pooled @ linear.T + bias
    if not np.abs(found - expected).max() <= LINEAR * np.abs(expected).max():
        return None
    return Affine(tail.entry, linear, bias)


def _alone(graph: Graph, tail: Tail, shape: tuple[int, ...], *, whole: bool) -> ModelProto:
    """Return the tail as a model: a batch of maps of that shape in, logits out."""
    part = graph.copy()
    kind = graph.elem_type(tail.entry) or TensorProto.FLOAT
    entry = helper.make_tensor_value_info(part.fresh("entry"), kind, ["M", *shape])
    logits = _add_copy(part, tail, entry.name, prefix="alone", whole=whole)
    del part.proto.input[:]
    part.proto.input.append(entry)
    part.prune([helper.make_empty_tensor_value_info(logits)])
    return part.model


def _add_copy(graph: Graph, tail: Tail, entry: str, *, prefix: str, whole: bool) -> str:
    """Add the tail once more, behind ``entry``; returns its logits. ``whole``: for maps of the full size."""
    names = {tail.entry: entry, **dict.fromkeys(tail.rewired, entry)}
    for node in tail.nodes:
        copy = NodeProto()
        if whole or node.output[0] not in tail.dropped:
            copy.CopyFrom(node)
        else:
            copy = helper.make_node("Identity", [node.input[0]], [node.output[0]])
        copy.name = f"camrt/{prefix}/{node.name or node.output[0]}"
        for index, name in enumerate(copy.input):
            copy.input[index] = names.get(name, name)
        for index, name in enumerate(copy.output):
            if name:
                copy.output[index] = names[name] = graph.fresh(f"{prefix}_{name}")
        graph.proto.node.append(copy)
    return names[tail.logits]


def _cut_up(graph: Graph, tail: Tail) -> str:
    """Return [N * cells, C, 1, 1], or [N * cells, 1, C] of tokens."""
    if tail.mode == "tokens":
        tensor = tail.entry
        tokens, channels = tail.entry_shape[1:]
        if tokens > tail.cells:
            bounds = [np.array([value], np.int64) for value in (tokens - tail.cells, tokens, 1)]
            tensor = graph.add_node("Slice", [tensor, *(graph.add_initializer("bound", bound) for bound in bounds)])
        return graph.add_reshape(tensor, [-1, 1, channels])
    cells = graph.add_node("Transpose", [tail.entry], perm=[0, 2, 3, 1])
    return graph.add_reshape(cells, [-1, tail.entry_shape[1], 1, 1])


def _mask(graph: Graph, tail: Tail) -> str:
    """Return [N * cells, C, h, w], each with one cell that is not zero."""
    channels, height, width = tail.entry_shape[1:]
    dtype = helper.tensor_dtype_to_np_dtype(graph.elem_type(tail.entry) or TensorProto.FLOAT)
    mask = np.eye(tail.cells, dtype=dtype).reshape(1, tail.cells, 1, height, width)
    tensor = graph.add_reshape(tail.entry, [-1, 1, channels, height, width])
    tensor = graph.add_node("Mul", [tensor, graph.add_initializer("mask", mask)])
    return graph.add_reshape(tensor, [-1, channels, height, width])
