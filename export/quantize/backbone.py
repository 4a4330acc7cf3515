"""Split a model file into backbone and head: the backbone computes maps from pixels, the head scores from maps.

The backbone takes most of the time, so it gets fewer bits. The head is small; in float32 it keeps the maps an exact
explanation of the scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from onnx import ModelProto, NodeProto, TensorProto, helper, version_converter

from camrt.errors import ExportError
from camrt.export.graph.graph import Graph, attribute, copy_model, opset_of
from camrt.export.head.pooling import reduced_axes

OLDEST_OPSET = 13
"""The first with a scale for each channel, and with a ReduceSum whose axes are an input."""
INLINED_PREFIX = "_inlfunc_"
"""ONNX Runtime's prefix for names inside a function (HardSwish ...) that it inlines."""
PREPROCESSING_OPS = {"Transpose", "Gather", "Cast", "Mul", "Add", "Sub", "Div", "ReduceSum", "Floor"}
"""The operators of a model file's preprocessing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitModel:
    """A model file, split at its maps."""

    backbone: ModelProto
    """From ``image`` to the maps, its only output. Every node has a name."""
    maps: str
    """``features`` or ``class_maps``; of a head that is evaluated per cell, the feature map that it reads."""
    whole: Graph
    """The whole graph, with the shapes that were inferred."""
    head: Sequence[NodeProto]
    """The nodes of ``whole`` that are not in the backbone."""

    def join(self, backbone: ModelProto, head: Sequence[NodeProto], maps_type: int = TensorProto.FLOAT) -> ModelProto:
        """Return a model file with another backbone and head.

        Args:
            backbone: has a tensor of the name of the maps.
            head: the nodes after the maps.
            maps_type: ``TensorProto`` type of the maps.
        """
        model = copy_model(backbone)
        graph = Graph(model)
        in_backbone = {tensor.name for tensor in model.graph.initializer}
        in_backbone.update(name for node in model.graph.node for name in node.output)
        # ONNX Runtime numbers the functions that it inlines, so it would use the backbone's names again in the head.
        graph.rename({name: graph.unique_name("backbone") for name in in_backbone if name.startswith(INLINED_PREFIX)})
        model.graph.node.extend(head)
        model.graph.initializer.extend(
            tensor for name, tensor in self.whole.initializers.items() if name not in in_backbone
        )
        del model.graph.value_info[:]
        outputs = []
        for output in self.whole.proto.output:
            outputs.append(type(output)())
            outputs[-1].CopyFrom(output)
            if output.name == self.maps:
                outputs[-1].type.tensor_type.elem_type = maps_type
        Graph(model).prune(outputs)
        return model


def split_model(model: ModelProto, maps: str) -> SplitModel:
    """Split a model file at the tensor ``maps``.

    Raises:
        ExportError: the head reads another tensor of the backbone too.
    """
    if opset_of(model) < OLDEST_OPSET:
        model = version_converter.convert_version(model, OLDEST_OPSET)
    whole = Graph(copy_model(model))
    _constants_to_initializers(whole)
    whole.infer_shapes()
    backbone_nodes = {id(node) for node in whole.ancestors(maps)}
    head = [node for node in whole.proto.node if id(node) not in backbone_nodes]
    available = {maps, "", *whole.initializers, *(name for node in head for name in node.output)}
    if others := sorted({name for node in head for name in node.input} - available):
        raise ExportError(
            f"the head reads {others[0]!r} besides {maps!r}, so a backbone in fewer bits would change what the maps "
            "explain; use the file as it is"
        )
    backbone = whole.copy()
    _means_to_pools(backbone)
    backbone.prune([helper.make_tensor_value_info(maps, TensorProto.FLOAT, whole.shape(maps))])
    for number, node in enumerate(backbone.proto.node):
        node.name = f"backbone_{number}_{node.op_type}"
    return SplitModel(backbone=backbone.model, maps=maps, whole=whole, head=head)


def preprocessing_nodes(backbone: ModelProto) -> list[str]:
    """Return the names of the nodes that only preprocess the pixels."""
    names: list[str] = []
    tensor = backbone.graph.input[0].name
    while True:
        readers = [node for node in backbone.graph.node if tensor in node.input]
        if len(readers) != 1 or readers[0].op_type not in PREPROCESSING_OPS:
            return names
        names.append(readers[0].name)
        tensor = readers[0].output[0]


def _constants_to_initializers(graph: Graph) -> None:
    """Turn Constant nodes into initializers, which backbone and head can share; outputs stay nodes."""
    outputs = {value.name for value in graph.proto.output}
    for node in [node for node in graph.proto.node if node.op_type == "Constant"]:
        tensor = attribute(node, "value")
        if isinstance(tensor, TensorProto) and node.output[0] not in outputs:
            graph.proto.initializer.append(tensor)
            graph.proto.initializer[-1].name = node.output[0]
            graph.proto.node.remove(node)
    graph.reindex()


def _means_to_pools(graph: Graph) -> None:
    """Rewrite means over rows and columns as GlobalAveragePool, which ONNX Runtime can compute in integers."""
    for node in list(graph.proto.node):
        shape = graph.shape(node.input[0]) if node.input else None
        if node.op_type != "ReduceMean" or shape is None or len(shape) != 4 or reduced_axes(graph, node) != {2, 3}:
            continue
        output = node.output[0]
        keeps_axes = attribute(node, "keepdims", 1)
        pooled = output if keeps_axes else graph.unique_name("pooled")
        nodes = [helper.make_node("GlobalAveragePool", [node.input[0]], [pooled])]
        if not keeps_axes:
            nodes.append(helper.make_node("Flatten", [pooled], [output], axis=1))
        position = list(graph.proto.node).index(node)
        graph.proto.node.remove(node)
        for offset, new_node in enumerate(nodes):
            graph.proto.node.insert(position + offset, new_node)
    graph.reindex()
