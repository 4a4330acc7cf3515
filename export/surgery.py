"""Give a classifier's graph the input and the outputs of the model file."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from camrt.export.graph import Graph
from camrt.export.head import Head
from camrt.export.linear_layer import LinearLayer
from camrt.export.network_input import NetworkInput
from camrt.export.preprocessing import Preprocessing
from camrt.model_file import (
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

RESERVED = (IMAGE, SCORES, LOGITS, FEATURES, CAM_WEIGHTS, CAM_BIAS, CLASS_MAPS)
"""Tensors of the source that bear one of these names get another one first."""


def operate(
    graph: Graph, network_input: NetworkInput, head: Head, preprocessing: Preprocessing, activation: Activation
) -> None:
    """Turn the graph into that of a model file. What only the source's other outputs needed is dropped."""
    _Publisher(graph).publish(head, activation)
    preprocessing.prepend(graph, network_input.name, network_input.elem_type)
    del graph.proto.input[:]
    sizes: list[str | int | None] = ["N", network_input.height, network_input.width, 3]
    graph.proto.input.append(helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, sizes))
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in zip(OUTPUTS[head.kind], _symbolic_shapes(head), strict=True)
    ]
    graph.prune(outputs)
    for node in graph.proto.node:  # stack traces and paths of the machine that exported it
        node.ClearField("metadata_props")
        node.ClearField("doc_string")


def _symbolic_shapes(head: Head) -> list[list[str | int | None]]:
    batch: list[str | int | None] = ["N", head.classes]
    maps = [*batch, None, None]
    if head.layer is None:
        return [batch, batch, maps]
    classes, channels = head.layer.weights.shape
    return [batch, batch, ["N", channels, None, None], [classes, channels], [classes]]


class _Publisher:
    """Makes tensors of the graph its outputs; those that are fit as they are get the output's name."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.names: dict[str, str] = {}

    def publish(self, head: Head, activation: Activation) -> None:
        """Add what lacks to the graph's nodes and rename the rest."""
        self._output(head.logits, LOGITS, rank=2)
        self._output(head.pooled, CLASS_MAPS if head.layer is None else FEATURES, rank=4)
        if head.layer is not None:
            self._weights(head.layer)
            self._add("Constant", [], CAM_BIAS, value=numpy_helper.from_array(head.layer.bias, CAM_BIAS))
        if activation == "none" or (head.activation is not None and not head.log):
            self._output(head.output, SCORES, rank=2)
        else:
            # The graph ends in logits (with a quantized head, those after its rounding) or in their logarithm's.
            last = self._output(head.output, self.graph.fresh("last"), rank=2)
            axis = {"axis": 1} if activation == "softmax" else {}
            self._add({"softmax": "Softmax", "sigmoid": "Sigmoid"}[activation], [last], SCORES, **axis)
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
            tensor = self._add(op_type, [tensor], **attributes)
        op_type, attributes = steps[-1] if steps else ("Identity", {})
        return self._add(op_type, [tensor], name, **attributes)

    def _weights(self, layer: LinearLayer) -> None:
        """Let the weights be a view of those that the graph has, so that the file holds them once."""
        tensor = layer.weights_tensor
        stored = self.graph.shape(tensor)
        if stored is None or len(stored) != 2:
            sizes = layer.weights.shape[::-1] if layer.transposed else layer.weights.shape
            shape = self.graph.add_initializer("weights_shape", np.array(sizes, np.int64))
            tensor = self._add("Reshape", [tensor, shape])
        if layer.transposed:
            tensor = self._add("Transpose", [tensor], perm=[1, 0])
        if self.graph.elem_type(layer.weights_tensor) != TensorProto.FLOAT:
            tensor = self._add("Cast", [tensor], to=TensorProto.FLOAT)
        if layer.scale != 1.0:
            scale = self.graph.add_initializer("alpha", np.array(layer.scale, np.float32))
            tensor = self._add("Mul", [tensor, scale])
        self._add("Identity", [tensor], CAM_WEIGHTS)

    def _add(self, op_type: str, inputs: Sequence[str], output: str | None = None, **attributes: Any) -> str:
        name = output or self.graph.fresh(op_type.lower())
        self.graph.proto.node.append(helper.make_node(op_type, inputs, [name], name=f"camrt/{name}", **attributes))
        return name
