"""Let a graph take any number of images, also where the exporter wrote a batch size into it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from onnx import NodeProto, TensorProto, helper

from camrt.errors import ExportError
from camrt.export.graph.graph import Array, Graph, attribute
from camrt.export.graph.network_input import NetworkInput
from camrt.export.graph.session import open_session, run_session

_TRIAL: Final = (3, 1)
"""Numbers of images that a graph must run on; exporters trace with 1 or 2."""
_TRACED: Final = (1, 2)
"""Batch sizes that exporters trace with."""
_ELEMENTWISE: Final = ("Add", "Sub", "Mul", "Div", "Where", "Max", "Min")
_STRICTLY_BATCH, _CONSTANTS, _ANY_RESHAPE = 1, 2, 3
"""Rewrites, each with those before it: Reshapes to the batch size; constants that were repeated for each image;
Reshapes that merge the images with other axes."""


def open_batch(graph: Graph, network_input: NetworkInput) -> NetworkInput:
    """Let the graph take any number of images; changes it in place.

    Returns: the input, with the batch size that was written into the graph; None: none was.
    """
    fixed = network_input.batch
    _set_batch(graph, network_input, None)
    if not _may_hold_batch(graph, [fixed] if fixed else _TRACED) or (fixed is None and _runs(graph, network_input)):
        return network_input
    attempts = [(batch, level) for batch in ([fixed] if fixed else _TRACED)
                for level in (_STRICTLY_BATCH, _CONSTANTS, _ANY_RESHAPE)]  # fmt: skip
    for batch, level in attempts:
        trial = graph.copy()
        _rewrite(trial, network_input, batch, level)
        if _runs(trial, network_input):
            _rewrite(graph, network_input, batch, level)
            return replace(network_input, batch=batch, batch_is_inside=fixed is None)
    if fixed:  # the verification will name the node that fails
        _rewrite(graph, network_input, fixed, _STRICTLY_BATCH)
    return network_input


def _set_batch(graph: Graph, network_input: NetworkInput, batch: int | None) -> None:
    value = graph.proto.input[0]
    dimensions: list[str | int | None] = [batch or "N", *network_input.shape[1:]]
    value.CopyFrom(helper.make_tensor_value_info(value.name, network_input.elem_type, dimensions))
    del graph.proto.value_info[:]  # shapes of the old batch
    for output in graph.proto.output:
        output.type.tensor_type.ClearField("shape")


def _may_hold_batch(graph: Graph, batches: Sequence[int]) -> bool:
    """Tell whether a graph has a constant that could hold one of these batch sizes."""
    for node in graph.proto.node:
        if node.op_type == "Reshape" and graph.constant(node.input[0]) is None:
            shape = graph.constant(node.input[1])
            if shape is not None and shape.size > 1 and shape[0] > 0:
                return True
        repeated = batches if node.op_type == "Concat" else [batch for batch in batches if batch > 1]
        if node.op_type in ("Concat", *_ELEMENTWISE) and any(
            any(_batched_constants(graph, node, batch)) for batch in repeated
        ):
            return True
    return False


def _runs(graph: Graph, network_input: NetworkInput) -> bool:
    """Tell whether a graph runs on several images and on one; True where ONNX Runtime does not open it at all."""
    dtype = helper.tensor_dtype_to_np_dtype(network_input.elem_type or TensorProto.FLOAT)
    try:
        session = open_session(graph.model, "the classifier")
    except ExportError:
        return True
    try:
        for count in _TRIAL:
            run_session(session, None, np.zeros((count, *network_input.shape[1:]), dtype), "the classifier")
    except ExportError:
        return False
    return True


def _rewrite(graph: Graph, network_input: NetworkInput, batch: int, level: int) -> None:
    """Remove a batch size from the graph."""
    known = graph.copy()
    _set_batch(known, network_input, batch)
    known.infer_shapes()
    for node in list(graph.proto.node):
        if node.op_type == "Reshape" and graph.constant(node.input[0]) is None:
            _open_reshape(graph, known, node, batch, any_multiple=level >= _ANY_RESHAPE)
        elif level >= _CONSTANTS and node.op_type == "Concat" and attribute(node, "axis") != 0:
            for index, values in _batched_constants(graph, node, batch):
                _expand_operand(graph, node, index, values)
        elif level >= _CONSTANTS and batch > 1 and node.op_type in _ELEMENTWISE:
            for index, values in _batched_constants(graph, node, batch):
                node.input[index] = graph.add_initializer("one_image", values)
    graph.sort_topologically()


def _open_reshape(graph: Graph, known: Graph, node: NodeProto, batch: int, *, any_multiple: bool) -> None:
    """Compute the first length of a Reshape from the data, where it is the batch size."""
    shape = graph.constant(node.input[1])
    if shape is None or shape.size < 2 or shape[0] < 1:
        return
    if not (shape[0] == batch or (any_multiple and shape[0] % batch == 0)):
        return
    result = known.shape(node.output[0])
    if result is not None and None not in result[1:]:
        new = [-1, *(length for length in result[1:] if length is not None)]
    else:
        # 0 copies the batch size of the input, unless allowzero makes it an empty dimension.
        new = [0 if -1 in shape else -1, *(int(length) for length in shape[1:])]
    attributes = [entry for entry in node.attribute if entry.name != "allowzero"]
    del node.attribute[:]
    node.attribute.extend(attributes)
    node.input[1] = graph.add_initializer("shape", np.array(new, np.int64))


def _batched_constants(graph: Graph, node: NodeProto, batch: int) -> Iterator[tuple[int, Array]]:
    """Yield the operands that hold the same numbers for each image of the batch: their index, and one image's."""
    constants = [graph.constant(name) if name else None for name in node.input]
    ranks = [values.ndim for values in constants if values is not None]
    if len(ranks) == len(constants):  # the whole node is constant
        return
    for index, values in enumerate(constants):
        if values is None or values.ndim != max(ranks) or values.ndim < 2 or len(values) != batch:
            continue
        if (values == values[:1]).all():
            yield index, values[:1]


def _expand_operand(graph: Graph, node: NodeProto, index: int, values: Array) -> None:
    """Repeat a constant operand of a Concat for each image of the operand that comes from the image."""
    data = next(name for name in node.input if graph.constant(name) is None)
    count = graph.add_node("Gather", [graph.add_node("Shape", [data]), graph.add_initializer("first", np.array([0]))])
    rest = graph.add_initializer("lengths", np.array(values.shape[1:], np.int64))
    shape = graph.add_node("Concat", [count, rest], axis=0)
    node.input[index] = graph.add_node("Expand", [graph.add_initializer("one_image", values), shape])
