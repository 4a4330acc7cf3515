"""Merge the model files of several heads of one network into one graph.

Each model has the whole backbone. Nodes that compute the same from the same inputs, and equal weights, are kept once,
whatever their names are: the rewriting gives a tensor another name in each model.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from camrt.export.graph.graph import Graph, copy_model, rename_tensors, subgraphs
from camrt.model_file import IMAGE, output_of

_ANY_OUTPUT: Final = "output"


def merge_heads(models: Mapping[str, ModelProto]) -> ModelProto:
    """Return one model with the outputs of all heads.

    Args:
        models: a model file's graph for each head, by the head's name; all of one network, with one preprocessing.

    Returns: the model with metadata of the first head, whose outputs keep their names. The others' outputs are called
    as `camrt.model_file.output_of` says.
    """
    (_, first), *others = models.items()
    graph = Graph(copy_model(first))
    outputs = [output_of(name, output.name) for name, model in others for output in model.graph.output]
    graph.release_names(outputs)
    for name in outputs:
        graph.free_name(name)  # so that no tensor of a further head gets it
    merger = _Merger(graph)
    for name, model in others:
        merger.add(name, model)
    graph.sort_topologically()
    return graph.model


class _Merger:
    """Adds models to a graph. Keys describe what a node or an initializer is, without its own names."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._initializers = {_initializer_key(tensor): tensor.name for tensor in graph.proto.initializer}
        self._outputs: dict[bytes, list[str]] = {}
        """Outputs of each node."""
        for node in graph.proto.node:
            self._outputs.setdefault(_node_key(node), list(node.output))
        self._node_names = {node.name for node in graph.proto.node}

    def add(self, head: str, model: ModelProto) -> None:
        """Add those parts of a head's model that the graph does not have."""
        proto = self._graph.proto
        names = {IMAGE: IMAGE}  # the graph's name for each tensor of the model
        wanted = {output.name: output_of(head, output.name) for output in model.graph.output}
        for tensor in model.graph.initializer:
            key = _initializer_key(tensor)
            if key not in self._initializers:
                proto.initializer.append(tensor)
                proto.initializer[-1].name = self._initializers[key] = self._graph.free_name(tensor.name)
            names[tensor.name] = self._initializers[key]
        for node in model.graph.node:
            copy = _copy(node)
            _rename_inputs(copy, names)
            key = _node_key(copy)
            if key not in self._outputs:
                self._add_node(copy, wanted)
                self._outputs[key] = list(copy.output)
            names.update(zip(node.output, self._outputs[key], strict=True))
        for output in model.graph.output:
            if names[output.name] != wanted[output.name]:  # another head has the same tensor
                self._graph.add_node("Identity", [names[output.name]], wanted[output.name])
            value = ValueInfoProto()
            value.CopyFrom(output)
            value.name = wanted[output.name]
            proto.output.append(value)
        self._graph.reindex()

    def _add_node(self, node: NodeProto, wanted: Mapping[str, str]) -> None:
        """Add a node under names that the graph does not have yet; an output of the model gets its wanted name."""
        for index, name in enumerate(node.output):
            if name:
                node.output[index] = wanted.get(name) or self._graph.free_name(name)
        inner = {name for graph in subgraphs(node) for name in _defined_names(graph)}
        renamed = {name: self._graph.free_name(name) for name in sorted(inner)}
        for graph in subgraphs(node):
            rename_tensors(graph, renamed)
        stem, number = node.name, 2
        while node.name and node.name in self._node_names:  # ONNX Runtime refuses two nodes of one name
            node.name, number = f"{stem}_{number}", number + 1
        self._node_names.add(node.name)
        self._graph.proto.node.append(node)


def _copy(node: NodeProto) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    return copy


def _rename_inputs(node: NodeProto, names: Mapping[str, str]) -> None:
    """Give the tensors that a node reads, in its subgraphs too, the graph's names."""
    for index, name in enumerate(node.input):
        node.input[index] = names.get(name, name)
    for graph in subgraphs(node):  # no name inside hides one outside, so this renames only those from outside
        rename_tensors(graph, names)


def _defined_names(graph: GraphProto) -> set[str]:
    names = {value.name for value in [*graph.input, *graph.initializer]}
    for node in graph.node:
        names.update(name for name in node.output if name)
        for inner in subgraphs(node):
            names |= _defined_names(inner)
    return names


def _initializer_key(tensor: TensorProto) -> bytes:
    copy = TensorProto()
    copy.CopyFrom(tensor)
    copy.ClearField("name")
    copy.ClearField("doc_string")
    return hashlib.sha256(copy.SerializeToString(deterministic=True)).digest()


def _node_key(node: NodeProto) -> bytes:
    copy = _copy(node)
    for field in ("name", "doc_string", "metadata_props"):
        copy.ClearField(field)
    copy.output[:] = [name and _ANY_OUTPUT for name in node.output]
    return hashlib.sha256(copy.SerializeToString(deterministic=True)).digest()
