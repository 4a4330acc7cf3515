"""Query and edit an ONNX graph."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from camrt.errors import ExportError
from camrt.export.graph.session import run_constant

Array = NDArray[Any]


class Graph:
    """The graph of a model. Every edit changes the model in place; edit a `copy` to keep the original."""

    def __init__(self, model: ModelProto) -> None:
        """Wrap ``model``. Initializers that are listed as inputs too are no inputs afterwards."""
        self.model = model
        self.proto = model.graph
        # Before IR version 4 every initializer is listed as an input too; as an input it could not be a constant.
        model.ir_version = max(model.ir_version, 4)
        initializers = {tensor.name for tensor in self.proto.initializer}
        inputs = [value for value in self.proto.input if value.name not in initializers]
        del self.proto.input[:]
        self.proto.input.extend(inputs)
        self._names = _all_names(self.proto)
        self._shapes: dict[str, ValueInfoProto] = {}
        self.reindex()

    @property
    def opset(self) -> int:
        """Version of the standard operators."""
        return opset_of(self.model)

    def copy(self) -> "Graph":
        """Return an independent copy, with the shapes that were inferred."""
        copy = Graph(copy_model(self.model))
        copy._shapes = dict(self._shapes)
        return copy

    def unique_name(self, stem: str) -> str:
        """Reserve and return a tensor name that nothing in the graph has: ``camrt_STEM``, or that with a number."""
        name, number = f"camrt_{stem}", 2
        while name in self._names:
            name, number = f"camrt_{stem}_{number}", number + 1
        self._names.add(name)
        return name

    def free_name(self, name: str) -> str:
        """Reserve and return ``name``, or a unique one like it if the graph has it."""
        if name in self._names:
            return self.unique_name(name.removeprefix("camrt_"))
        self._names.add(name)
        return name

    def release_names(self, names: Collection[str]) -> dict[str, str]:
        """Rename the tensors that have one of ``names``, and return the new name of each."""
        renamed = {name: self.unique_name(name) for name in names if name in self._names}
        self.rename(renamed)
        return renamed

    def rename(self, mapping: Mapping[str, str]) -> None:
        """Rename tensors everywhere, in subgraphs too."""
        if mapping:
            rename_tensors(self.proto, mapping)
        self._names.update(mapping.values())
        self._shapes = {mapping.get(name, name): value for name, value in self._shapes.items()}
        self.reindex()

    def reindex(self) -> None:
        """Update the look-up tables after nodes or initializers were changed directly."""
        self._producers = {name: node for node in self.proto.node for name in node.output if name}
        self.initializers = {tensor.name: tensor for tensor in self.proto.initializer}
        self._constants: dict[str, Array | None] = {}

    def add_initializer(self, stem: str, values: Array) -> str:
        """Add a constant under a unique name and return that name."""
        name = self.unique_name(stem)
        self.proto.initializer.append(numpy_helper.from_array(values, name))
        self.initializers[name] = self.proto.initializer[-1]
        return name

    def add_node(self, op_type: str, inputs: Sequence[str], output: str | None = None, **attributes: Any) -> str:
        """Append a node with one output and return the output's name, by default a unique one."""
        name = output or self.unique_name(op_type.lower())
        self.proto.node.append(helper.make_node(op_type, inputs, [name], name=f"camrt/{name}", **attributes))
        self._producers[name] = self.proto.node[-1]
        return name

    def add_reshape(self, tensor: str, shape: Sequence[int]) -> str:
        """Append a Reshape and return its output."""
        return self.add_node("Reshape", [tensor, self.add_initializer("shape", np.array(shape, np.int64))])

    def producer(self, tensor: str) -> NodeProto | None:
        """Return the node that computes a tensor; None for inputs and initializers."""
        return self._producers.get(tensor)

    def consumers(self, tensor: str) -> list[NodeProto]:
        """Return the nodes that read a tensor."""
        return [node for node in self.proto.node if tensor in node.input]

    def ancestors(self, tensor: str) -> list[NodeProto]:
        """Return every node that a tensor depends on, in the graph's order."""
        visited, pending = set(), [tensor]
        while pending:
            node = self.producer(pending.pop())
            if node is not None and id(node) not in visited:
                visited.add(id(node))
                pending.extend(node_inputs(node))
        return [node for node in self.proto.node if id(node) in visited]

    def infer_shapes(self) -> None:
        """Infer the tensors' types and shapes, for `shape` and `elem_type`."""
        try:
            inferred = onnx.shape_inference.infer_shapes(self.model, data_prop=True).graph
        except onnx.shape_inference.InferenceError:
            inferred = self.proto  # the verification runs the graph, and proves or refuses what stays unknown here
        self._shapes = {value.name: value for value in [*inferred.value_info, *inferred.input, *inferred.output]}

    def shape(self, tensor: str) -> tuple[int | None, ...] | None:
        """Return a tensor's shape, with None for each dimension that is not fixed. None: the rank is unknown."""
        if tensor in self.initializers:
            return tuple(self.initializers[tensor].dims)
        value = self._shapes.get(tensor)
        if value is None or not value.type.tensor_type.HasField("shape"):
            return None
        return tuple(
            dimension.dim_value if dimension.HasField("dim_value") else None
            for dimension in value.type.tensor_type.shape.dim
        )

    def elem_type(self, tensor: str) -> int:
        """Return a tensor's ``TensorProto`` data type; UNDEFINED where it is unknown."""
        if tensor in self.initializers:
            return int(self.initializers[tensor].data_type)
        value = self._shapes.get(tensor)
        return TensorProto.UNDEFINED if value is None else int(value.type.tensor_type.elem_type)

    def set_elem_type(self, tensor: str, like: str) -> None:
        """Record that a new tensor has the data type of the tensor ``like``."""
        self._shapes[tensor] = helper.make_tensor_value_info(tensor, self.elem_type(like), None)

    def constant(self, tensor: str) -> Array | None:
        """Return the value of a tensor that depends on no input, evaluated if need be; None if it depends on one."""
        if tensor not in self._constants:
            self._constants[tensor] = self._evaluate(tensor)
        return self._constants[tensor]

    def _evaluate(self, tensor: str) -> Array | None:
        if tensor in self.initializers:
            return numpy_helper.to_array(self.initializers[tensor])
        nodes = self.ancestors(tensor)
        graph_inputs = {value.name for value in self.proto.input}
        used = {name for node in nodes for name in node_inputs(node)}
        if not nodes or not used.isdisjoint(graph_inputs):
            return None
        constants = helper.make_graph(
            nodes,
            "constants",
            [],
            [helper.make_empty_tensor_value_info(tensor)],
            [self.initializers[name] for name in sorted(used) if name in self.initializers],
        )
        model = helper.make_model(constants, opset_imports=self.model.opset_import, ir_version=self.model.ir_version)
        return run_constant(model)

    def sort_topologically(self) -> None:
        """Put every node behind those that it reads from, as ONNX requires, and keep the order otherwise.

        Raises:
            ExportError: the graph has a cycle.
        """
        self.reindex()  # nodes may have been added
        order: list[NodeProto] = []
        placed: set[int] = set()
        visited: set[int] = set()
        pending = list(self.proto.node)[::-1]
        while pending:
            node = pending.pop()
            if id(node) in placed:
                continue
            parents = [self._producers[name] for name in node_inputs(node) if name in self._producers]
            if missing := [parent for parent in parents if id(parent) not in placed]:
                if id(node) in visited:
                    raise ExportError(f"the graph has a cycle at {node.op_type} node {node.name!r}; export it again")
                visited.add(id(node))
                pending += [node, *missing]
            else:
                placed.add(id(node))
                order.append(node)
        copies = [NodeProto.FromString(node.SerializeToString()) for node in order]
        del self.proto.node[:]
        self.proto.node.extend(copies)
        self.reindex()

    def prune(self, outputs: Sequence[ValueInfoProto]) -> None:
        """Make ``outputs`` the graph's outputs and remove all that none of them needs."""
        del self.proto.output[:]
        self.proto.output.extend(outputs)
        self.reindex()
        needed = {id(node) for output in outputs for node in self.ancestors(output.name)}
        _filter(self.proto.node, lambda node: id(node) in needed)
        used = {name for node in self.proto.node for name in node_inputs(node)} | {output.name for output in outputs}
        _filter(self.proto.initializer, lambda tensor: tensor.name in used)
        _filter(self.proto.quantization_annotation, lambda entry: entry.tensor_name in used)
        self.reindex()


def _filter(field: Any, keep: Callable[[Any], bool]) -> None:
    """Remove the messages of a repeated field for which ``keep`` is false."""
    for index in reversed(range(len(field))):
        if not keep(field[index]):
            del field[index]


def copy_model(model: ModelProto) -> ModelProto:
    """Return an independent copy of a model."""
    copy = ModelProto()
    copy.CopyFrom(model)
    return copy


def opset_of(model: ModelProto) -> int:
    """Return the version of the standard operators that a model uses; 0 where it does not say."""
    return next((int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)


def attribute(node: NodeProto, name: str, default: Any = None) -> Any:
    """Return the value of a node's attribute."""
    for entry in node.attribute:
        if entry.name == name:
            return helper.get_attribute_value(entry)
    return default


def has_subgraphs(node: NodeProto) -> bool:
    """Tell whether a node runs graphs of its own (If, Loop, Scan)."""
    return bool(subgraphs(node))


def subgraphs(node: NodeProto) -> list[GraphProto]:
    """Return the graphs that a node runs (If, Loop, Scan)."""
    return [graph for entry in node.attribute for graph in ([entry.g] if entry.HasField("g") else entry.graphs)]


def node_inputs(node: NodeProto) -> list[str]:
    """Return the tensors that a node reads. Its subgraphs may read any tensor of the graph around them."""
    captured = [name for graph in subgraphs(node) for child in graph.node for name in node_inputs(child)]
    captured += [output.name for graph in subgraphs(node) for output in graph.output]
    return [name for name in [*node.input, *captured] if name]


def _all_names(graph: GraphProto) -> set[str]:
    names = {value.name for value in [*graph.input, *graph.output, *graph.value_info, *graph.initializer]}
    for node in graph.node:
        names.update(node.input, node.output)
        for subgraph in subgraphs(node):
            names |= _all_names(subgraph)
    return names


def rename_tensors(graph: GraphProto, mapping: Mapping[str, str]) -> None:
    """Rename tensors in a graph and its subgraphs."""
    for value in [*graph.input, *graph.output, *graph.value_info, *graph.initializer]:
        value.name = mapping.get(value.name, value.name)
    for annotation in graph.quantization_annotation:
        annotation.tensor_name = mapping.get(annotation.tensor_name, annotation.tensor_name)
        for entry in annotation.quant_parameter_tensor_names:
            entry.value = mapping.get(entry.value, entry.value)
    for node in graph.node:
        for field in (node.input, node.output):
            for index, name in enumerate(field):
                field[index] = mapping.get(name, name)
        for subgraph in subgraphs(node):
            rename_tensors(subgraph, mapping)
