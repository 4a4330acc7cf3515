"""Load a classifier's graph, and rewrite it as the graph of a model file."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from camrt.export.graph.graph import Graph, copy_model
from camrt.export.graph.network_input import NetworkInput, read_input
from camrt.export.graph.open_batch import open_batch
from camrt.export.graph.preprocessing import Preprocessing
from camrt.export.graph.qoperator_to_qdq import to_qdq
from camrt.export.head.affine import F64, Affine
from camrt.export.head.class_maps import add_class_maps, add_weighted_maps
from camrt.export.head.find import ClassifierHead
from camrt.export.head.pooling import PooledMaps
from camrt.model_file import (
    CAM_BIAS,
    CAM_WEIGHTS,
    CLASS_MAPS,
    FEATURES,
    HEAD_INPUT,
    IMAGE,
    LOGITS,
    OUTPUTS,
    SCORES,
    Activation,
    maps_output,
)

RESERVED_NAMES = (HEAD_INPUT, IMAGE, SCORES, LOGITS, FEATURES, CAM_WEIGHTS, CAM_BIAS, CLASS_MAPS)
"""Names that have a meaning in a model file; the source's tensors of these names are renamed."""


def load_graph(model: ModelProto, size: tuple[int, int] | None) -> tuple[Graph, NetworkInput]:
    """Return a copy of a classifier that is ready for the head search, and its input.

    Integer operators are rewritten as QDQ pairs, the batch is open, and shapes are inferred.

    Args:
        model: a checked classifier; it is not changed.
        size: (width, height) in pixels, for a network that leaves them open.

    Raises:
        ExportError: the input is not supported.
        UsageError: the size is needed, or differs from the network's.
    """
    graph = Graph(copy_model(model))
    to_qdq(graph)
    network_input = open_batch(graph, read_input(graph, size))
    graph.infer_shapes()
    return graph, network_input


@dataclass(frozen=True, slots=True, kw_only=True)
class RewrittenGraph:
    """The graph of a model file, without metadata."""

    model: ModelProto
    network_input: str
    """The tensor between the preprocessing and the network."""


def rewrite_graph(
    source: Graph,
    network_input: NetworkInput,
    head: ClassifierHead,
    preprocessing: Preprocessing,
    activation: Activation,
) -> RewrittenGraph:
    """Return the graph of a model file; only what its outputs need is in it.

    Args:
        source: the classifier; it is not changed.
        network_input: its input.
        head: its head.
        preprocessing: what to compute from the pixels.
        activation: what turns logits into scores.
    """
    graph = source.copy()
    class_maps, feature_map = head.saliency_map, None
    if head.nonlinear is not None:
        class_maps, feature_map = add_class_maps(graph, head.nonlinear), head.nonlinear.feature_map
    elif head.cell_weights is not None:
        class_maps, feature_map = add_weighted_maps(graph, head.cell_weights), head.cell_weights.feature_map
    names = graph.release_names(RESERVED_NAMES)
    if feature_map is not None:
        graph.rename({names.get(feature_map, feature_map): HEAD_INPUT})
    _OutputWriter(graph, names).write(head, activation, class_maps)
    network_input_name = names.get(network_input.name, network_input.name)
    preprocessing.prepend(graph, network_input_name, network_input.elem_type)
    del graph.proto.input[:]
    image_shape: list[str | int | None] = ["N", network_input.height, network_input.width, 3]
    graph.proto.input.append(helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, image_shape))
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in zip(OUTPUTS[head.kind], _output_shapes(head), strict=True)
    ]
    graph.sort_topologically()
    graph.prune(outputs)
    for node in graph.proto.node:  # stack traces and paths of the machine that exported it
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    return RewrittenGraph(model=graph.model, network_input=network_input_name)


def _output_shapes(head: ClassifierHead) -> list[list[str | int | None]]:
    """Return the shape of each output; None where only a run shows the length."""
    per_class: list[str | int | None] = ["N", head.classes]
    if head.affine is None:
        bias: list[list[str | int | None]] = [] if head.cell_weights is None else [[head.classes]]
        return [per_class, per_class, [*per_class, None, None], *bias]
    classes, channels = head.affine.weights.shape
    return [per_class, per_class, ["N", channels, None, None], [classes, channels], [classes]]


class _OutputWriter:
    """Gives a graph the outputs of a model file. A tensor that fits as it is gets the output's name."""

    def __init__(self, graph: Graph, new_names: Mapping[str, str]) -> None:
        self.graph = graph
        self.new_names = new_names
        """Of the source's tensors that were renamed."""
        self.output_names: dict[str, str] = {}
        """Output's name for each tensor that fits."""

    def write(self, head: ClassifierHead, activation: Activation, class_maps: str | None) -> None:
        """Add the outputs.

        Args:
            head: the head, with the source's names.
            activation: what turns logits into scores.
            class_maps: the class maps of a head that has no pool.
        """
        self._add_output(self._name(head.output.logits), LOGITS, rank=2)
        if head.affine is not None:
            self._add_weights(head.affine)
            self._add_bias(np.broadcast_to(head.affine.bias, len(head.affine.weights)))
        elif head.cell_weights is not None:
            self._add_bias(head.cell_weights.bias)
        if head.pooled is not None:
            maps = self._channels_first(head.pooled)
            self._add_output(maps, maps_output(head.kind), rank=4)
        elif class_maps is not None:
            self._add_output(self._name(class_maps), CLASS_MAPS, rank=4)
        output = self._name(head.output.name)
        if activation == "none" or (head.output.activation is not None and not head.output.is_log):
            self._add_output(output, SCORES, rank=2)
        else:
            # The graph ends in logits (with a quantized head, those after its rounding) or in log-probabilities.
            last = self._add_output(output, self.graph.unique_name("last"), rank=2)
            axis = {"axis": 1} if activation == "softmax" else {}
            self.graph.add_node({"softmax": "Softmax", "sigmoid": "Sigmoid"}[activation], [last], SCORES, **axis)
        self.graph.rename(self.output_names)

    def _name(self, source_name: str) -> str:
        return self.new_names.get(source_name, source_name)

    def _add_output(self, tensor: str, name: str, rank: int) -> str:
        """Make ``tensor`` the output ``name``: as float32, and with ``rank`` axes if that is 2; return its tensor."""
        shape = self.graph.shape(tensor)
        steps: list[tuple[str, dict[str, Any]]] = []
        if rank == 2 and (shape is None or len(shape) != 2):
            steps.append(("Flatten", {"axis": 1}))
        if self.graph.elem_type(tensor) != TensorProto.FLOAT:
            steps.append(("Cast", {"to": TensorProto.FLOAT}))
        if not steps and tensor not in self.output_names:
            self.output_names[tensor] = name
            return tensor
        for op_type, attributes in steps[:-1]:
            tensor = self.graph.add_node(op_type, [tensor], **attributes)
        op_type, attributes = steps[-1] if steps else ("Identity", {})
        return self.graph.add_node(op_type, [tensor], name, **attributes)

    def _channels_first(self, pooled: PooledMaps) -> str:
        """Return the pooled maps as [N, C, h, w], and let all readers of the maps read these."""
        maps = self._name(pooled.tensor)
        readers = self.graph.consumers(maps)
        if pooled.layout == "nhwc":
            tensor = self.graph.add_node("Transpose", [maps], perm=[0, 3, 1, 2])
            back = self.graph.add_node("Transpose", [tensor], perm=[0, 2, 3, 1])
        elif pooled.grid is not None:
            cells = maps
            if pooled.layout == "ntc":
                cells = self.graph.add_node("Transpose", [cells], perm=[0, 2, 1])
            tensor = self.graph.add_reshape(cells, [0, 0, *pooled.grid])  # 0 keeps the length
            back = self.graph.add_reshape(tensor, [0, 0, -1])
            if pooled.layout == "ntc":
                back = self.graph.add_node("Transpose", [back], perm=[0, 2, 1])
        else:
            return maps
        self.graph.set_elem_type(tensor, like=maps)
        for node in readers:
            node.input[:] = [back if name == maps else name for name in node.input]
        return tensor

    def _add_bias(self, bias: F64) -> None:
        value = numpy_helper.from_array(np.asarray(bias, np.float32), CAM_BIAS)
        self.graph.add_node("Constant", [], CAM_BIAS, value=value)

    def _add_weights(self, affine: Affine) -> None:
        """Add the weights' output: a view of the graph's own tensor where there is one, so the file holds them once."""
        if affine.weights_tensor is None:
            tensor = self.graph.add_initializer("weights", affine.weights.astype(np.float32))
            self.graph.add_node("Identity", [tensor], CAM_WEIGHTS)
            return
        source = self._name(affine.weights_tensor)
        tensor, shape = source, self.graph.shape(source)
        if shape is None or len(shape) != 2:
            tensor = self.graph.add_reshape(tensor, affine.weights.shape[:: -1 if affine.weights_transposed else 1])
        if affine.weights_transposed:
            tensor = self.graph.add_node("Transpose", [tensor], perm=[1, 0])
        if self.graph.elem_type(source) != TensorProto.FLOAT:
            tensor = self.graph.add_node("Cast", [tensor], to=TensorProto.FLOAT)
        self.graph.add_node("Identity", [tensor], CAM_WEIGHTS)
