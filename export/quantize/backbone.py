"""A model file's graph in two parts: the body, which makes maps of pixels, and the tail, which makes scores of maps.

The body is where the time goes and is what is given fewer bits. The tail is small, and in float32 it keeps the maps an
exact explanation of the scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from onnx import ModelProto, NodeProto, TensorProto, helper, version_converter

from camrt.errors import ExportError
from camrt.export.graph.graph import Graph, attribute, copy_model, opset_of
from camrt.export.head.pooling import reduced_axes

OLDEST_OPSET = 13
"""The first with a scale for each channel, and with a ReduceSum whose axes are an input."""
INLINED = "_inlfunc_"
"""How ONNX Runtime begins the names that it gives when it writes a function (HardSwish ...) out."""
PIXEL_STEPS = {"Transpose", "Gather", "Cast", "Mul", "Add", "Sub", "Div"}
"""What the preprocessing of a model file is made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A model file taken apart."""

    body: ModelProto
    """From ``image`` to the maps, its only output. Every node has a name."""
    maps: str
    """``features`` or ``class_maps``; of a head that is asked about each cell, the map that it is asked about."""
    whole: Graph
    """The whole graph, with what is known of its shapes."""
    tail: Sequence[NodeProto]
    """The nodes of ``whole`` that are not in the body."""

    def join(self, body: ModelProto, nodes: Sequence[NodeProto], outputs_type: int = TensorProto.FLOAT) -> ModelProto:
        """Return a model file of a new body, which has ``maps`` as its output, and ``nodes`` in place of the tail's.

        Args:
            body: gives a tensor of the name of the maps.
            nodes: what follows it.
            outputs_type: ``TensorProto`` type of the maps.
        """
        model = copy_model(body)
        graph = Graph(model)
        held = {tensor.name for tensor in model.graph.initializer}
        held.update(name for node in model.graph.node for name in node.output)
        # What ONNX Runtime called the inside of a function in the body, it would call that of the tail's once more.
        graph.rename({name: graph.unique_name("body") for name in held if name.startswith(INLINED)})
        model.graph.node.extend(nodes)
        model.graph.initializer.extend(tensor for name, tensor in self.whole.initializers.items() if name not in held)
        del model.graph.value_info[:]
        outputs = []
        for output in self.whole.proto.output:
            outputs.append(type(output)())
            outputs[-1].CopyFrom(output)
            if output.name == self.maps:
                outputs[-1].type.tensor_type.elem_type = outputs_type
        Graph(model).prune(outputs)
        return model


def take_apart(model: ModelProto, maps: str) -> Parts:
    """Split a model file at its maps.

    Raises:
        ExportError: the head reads the network at another place too.
    """
    if opset_of(model) < OLDEST_OPSET:
        model = version_converter.convert_version(model, OLDEST_OPSET)
    whole = Graph(copy_model(model))
    _constants_to_initializers(whole)
    whole.infer_shapes()
    inside = {id(node) for node in whole.ancestors(maps)}
    tail = [node for node in whole.proto.node if id(node) not in inside]
    known = {maps, "", *whole.initializers, *(name for node in tail for name in node.output)}
    foreign = sorted({name for node in tail for name in node.input} - known)
    if foreign:
        raise ExportError(
            f"the head reads {foreign[0]!r} besides {maps!r}, so the network cannot be given fewer bits without "
            "changing what its maps explain; use the file as it is"
        )
    body = whole.copy()
    body.infer_shapes()
    _means_to_pools(body)
    body.prune([helper.make_tensor_value_info(maps, TensorProto.FLOAT, whole.shape(maps))])
    for number, node in enumerate(body.proto.node):
        node.name = f"body_{number}_{node.op_type}"
    return Parts(body=body.model, maps=maps, whole=whole, tail=tail)


def pixel_nodes(body: ModelProto) -> list[str]:
    """Return the names of the nodes that only prepare the pixels."""
    names: list[str] = []
    tensor = body.graph.input[0].name
    while True:
        readers = [node for node in body.graph.node if tensor in node.input]
        if len(readers) != 1 or readers[0].op_type not in PIXEL_STEPS:
            return names
        names.append(readers[0].name)
        tensor = readers[0].output[0]


def _constants_to_initializers(graph: Graph) -> None:
    """Let constants be initializers, which both parts can hold, but for those that are outputs."""
    outputs = {value.name for value in graph.proto.output}
    for node in [node for node in graph.proto.node if node.op_type == "Constant"]:
        tensor = attribute(node, "value")
        if isinstance(tensor, TensorProto) and node.output[0] not in outputs:
            graph.proto.initializer.append(tensor)
            graph.proto.initializer[-1].name = node.output[0]
            graph.proto.node.remove(node)
    graph.reindex()


def _means_to_pools(graph: Graph) -> None:
    """Write means over rows and columns as GlobalAveragePool, which ONNX Runtime can compute in integers."""
    for node in list(graph.proto.node):
        shape = graph.shape(node.input[0]) if node.input else None
        if node.op_type != "ReduceMean" or shape is None or len(shape) != 4 or reduced_axes(graph, node) != {2, 3}:
            continue
        output = node.output[0]
        keeps = attribute(node, "keepdims", 1)
        pooled = output if keeps else graph.unique_name("pooled")
        nodes = [helper.make_node("GlobalAveragePool", [node.input[0]], [pooled])]
        if not keeps:
            nodes.append(helper.make_node("Flatten", [pooled], [output], axis=1))
        at = list(graph.proto.node).index(node)
        graph.proto.node.remove(node)
        for offset, new in enumerate(nodes):
            graph.proto.node.insert(at + offset, new)
    graph.reindex()
