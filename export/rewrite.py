"""Give a classifier's graph the input and the outputs of the model file."""

from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from camrt.export.graph.graph import Graph, copied
from camrt.export.graph.network_input import NetworkInput, free_batch, read_input
from camrt.export.graph.preprocessing import Preprocessing
from camrt.export.graph.qoperator_to_qdq import to_qdq
from camrt.export.head.affine import Affine
from camrt.export.head.class_maps import add_class_maps
from camrt.export.head.find import Head
from camrt.export.head.pooling import Pooled
from camrt.model_file import (
    ASKED_MAP,
    CAM_BIAS,
    CAM_WEIGHTS,
    CLASS_MAPS,
    FEATURES,
    IMAGE,
    LOGITS,
    OUTPUTS,
    SCORES,
    Activation,
)

RESERVED = (ASKED_MAP, IMAGE, SCORES, LOGITS, FEATURES, CAM_WEIGHTS, CAM_BIAS, CLASS_MAPS)
"""Tensors of the source that bear one of these names get another one first."""


def prepare(model: ModelProto, size: tuple[int, int] | None) -> tuple[Graph, NetworkInput]:
    """Return a copy of a classifier in which its head can be looked for, and its input.

    Integer operators are written out, any number of pictures may go in, and what is known of the shapes is worked out.

    Args:
        model: a checked classifier; it is not changed.
        size: (width, height) in pixels, for a network that leaves it open.

    Raises:
        ExportError: an input that is not supported.
        UsageError: the size is needed, or is not the network's.
    """
    graph = Graph(copied(model), RESERVED)
    to_qdq(graph)
    network_input = read_input(graph, size)
    free_batch(graph, network_input)
    graph.infer_shapes()
    return graph, network_input


def operate(
    graph: Graph, network_input: NetworkInput, head: Head, preprocessing: Preprocessing, activation: Activation
) -> None:
    """Turn the graph into that of a model file. What only the source's other outputs needed is dropped."""
    maps = head.maps
    if head.tail is not None:
        maps = add_class_maps(graph, head.tail)
        graph.rename({head.tail.entry: ASKED_MAP})
    _Publisher(graph).publish(head, activation, maps)
    preprocessing.prepend(graph, network_input.name, network_input.elem_type)
    del graph.proto.input[:]
    sizes: list[str | int | None] = ["N", network_input.height, network_input.width, 3]
    graph.proto.input.append(helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, sizes))
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in zip(OUTPUTS[head.kind], _symbolic_shapes(head), strict=True)
    ]
    graph.sort()
    graph.prune(outputs)
    for node in graph.proto.node:  # stack traces and paths of the machine that exported it
        node.ClearField("metadata_props")
        node.ClearField("doc_string")


def _symbolic_shapes(head: Head) -> list[list[str | int | None]]:
    batch: list[str | int | None] = ["N", head.classes]
    maps = [*batch, None, None]
    if head.affine is None:
        return [batch, batch, maps]
    classes, channels = head.affine.linear.shape
    return [batch, batch, ["N", channels, None, None], [classes, channels], [classes]]


class _Publisher:
    """Makes tensors of the graph its outputs; those that are fit as they are get the output's name."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.names: dict[str, str] = {}

    def publish(self, head: Head, activation: Activation, maps: str | None) -> None:
        """Add what lacks to the graph's nodes and rename the rest; ``maps``: the class maps of a head without pool."""
        self._output(head.logits, LOGITS, rank=2)
        if head.affine is not None:
            self._weights(head.affine)
            bias = np.broadcast_to(head.affine.bias, len(head.affine.linear)).astype(np.float32)
            self.graph.add_node("Constant", [], CAM_BIAS, value=numpy_helper.from_array(bias, CAM_BIAS))
        if head.pooled is not None:
            self._output(self._channels_first(head.pooled), CLASS_MAPS if head.affine is None else FEATURES, rank=4)
        elif maps is not None:
            self._output(maps, CLASS_MAPS, rank=4)
        if activation == "none" or (head.activation is not None and not head.log):
            self._output(head.output, SCORES, rank=2)
        else:
            # The graph ends in logits (with a quantized head, those after its rounding) or in their logarithm's.
            last = self._output(head.output, self.graph.fresh("last"), rank=2)
            axis = {"axis": 1} if activation == "softmax" else {}
            self.graph.add_node({"softmax": "Softmax", "sigmoid": "Sigmoid"}[activation], [last], SCORES, **axis)
        self.graph.rename(self.names)

    def _output(self, tensor: str, name: str, rank: int) -> str:
        shape = self.graph.shape(tensor)
        steps: list[tuple[str, dict[str, Any]]] = []
        if rank == 2 and (shape is None or len(shape) != 2):
            steps.append(("Flatten", {"axis": 1}))
        if self.graph.elem_type(tensor) != TensorProto.FLOAT:
            steps.append(("Cast", {"to": TensorProto.FLOAT}))
        if not steps and tensor not in self.names:
            self.names[tensor] = name
            return tensor
        for op_type, attributes in steps[:-1]:
            tensor = self.graph.add_node(op_type, [tensor], **attributes)
        op_type, attributes = steps[-1] if steps else ("Identity", {})
        return self.graph.add_node(op_type, [tensor], name, **attributes)

    def _channels_first(self, pooled: Pooled) -> str:
        """Return the pooled maps as [N, C, h, w], and let all that is behind them be computed from these."""
        readers = self.graph.consumers(pooled.tensor)
        if pooled.layout == "nhwc":
            tensor = self.graph.add_node("Transpose", [pooled.tensor], perm=[0, 3, 1, 2])
            back = self.graph.add_node("Transpose", [tensor], perm=[0, 2, 3, 1])
        elif pooled.grid is not None:
            cells = pooled.tensor
            if pooled.layout == "ntc":
                cells = self.graph.add_node("Transpose", [cells], perm=[0, 2, 1])
            tensor = self.graph.add_reshape(cells, [0, 0, *pooled.grid])  # 0: as it is
            back = self.graph.add_reshape(tensor, [0, 0, -1])
            if pooled.layout == "ntc":
                back = self.graph.add_node("Transpose", [back], perm=[0, 2, 1])
        else:
            return pooled.tensor
        self.graph.note_type(tensor, like=pooled.tensor)
        for node in readers:
            node.input[:] = [back if name == pooled.tensor else name for name in node.input]
        return tensor

    def _weights(self, affine: Affine) -> None:
        """Let the weights be a view of the graph's own, where it has them, so that the file holds them once."""
        if affine.stored is None:
            tensor = self.graph.add_initializer("weights", affine.linear.astype(np.float32))
            self.graph.add_node("Identity", [tensor], CAM_WEIGHTS)
            return
        tensor = affine.stored
        stored = self.graph.shape(tensor)
        if stored is None or len(stored) != 2:
            tensor = self.graph.add_reshape(tensor, list(affine.linear.shape[:: -1 if affine.transposed else 1]))
        if affine.transposed:
            tensor = self.graph.add_node("Transpose", [tensor], perm=[1, 0])
        if self.graph.elem_type(affine.stored) != TensorProto.FLOAT:
            tensor = self.graph.add_node("Cast", [tensor], to=TensorProto.FLOAT)
        self.graph.add_node("Identity", [tensor], CAM_WEIGHTS)
