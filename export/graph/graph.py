"""An ONNX graph with the questions that the head search and the surgery ask of it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from camrt.errors import ExportError
from camrt.export.graph.session import run_constant

Array = NDArray[Any]


class Graph:
    """A model that is taken apart in place: `model` changes with every call that changes something."""

    def __init__(self, model: ModelProto, reserved: Iterable[str] = ()) -> None:
        """Take over ``model``; its tensors that bear a reserved name get another one."""
        self.model = model
        self.proto = model.graph
        # Before IR version 4 every initializer is listed as an input too; as an input it could not be a constant.
        model.ir_version = max(model.ir_version, 4)
        initializers = {tensor.name for tensor in self.proto.initializer}
        keep = [value for value in self.proto.input if value.name not in initializers]
        del self.proto.input[:]
        self.proto.input.extend(keep)
        self._names = _all_names(self.proto)
        self.renamed = {name: self.fresh(name) for name in reserved if name in self._names}
        self.rename(self.renamed)
        self._shapes: dict[str, ValueInfoProto] = {}
        self._constants: dict[str, Array | None] = {}

    @property
    def opset(self) -> int:
        """Version of the standard operators."""
        return opset_of(self.model)

    def copy(self) -> "Graph":
        """Return the same graph, to be changed by itself; its shapes are not inferred."""
        return Graph(copied(self.model))

    def shown(self, name: str) -> str:
        """Return the name that the source file has for a tensor."""
        return next((old for old, new in self.renamed.items() if new == name), name)

    def fresh(self, stem: str) -> str:
        """Return a tensor name that nothing in the graph bears, and take it."""
        name, number = f"camrt_{stem}", 2
        while name in self._names:
            name, number = f"camrt_{stem}_{number}", number + 1
        self._names.add(name)
        return name

    def rename(self, mapping: Mapping[str, str]) -> None:
        """Rename tensors everywhere, in subgraphs too."""
        if mapping:
            _rename(self.proto, mapping)
        self._names.update(mapping.values())
        self.reindex()

    def reindex(self) -> None:
        """Look at the nodes and initializers anew, after they changed."""
        self._producers = {name: node for node in self.proto.node for name in node.output if name}
        self.initializers = {tensor.name: tensor for tensor in self.proto.initializer}
        self._constants = {}

    def add_initializer(self, stem: str, values: Array) -> str:
        """Add a constant under a fresh name and return that."""
        name = self.fresh(stem)
        self.proto.initializer.append(numpy_helper.from_array(values, name))
        self.initializers[name] = self.proto.initializer[-1]
        return name

    def add_node(self, op_type: str, inputs: Sequence[str], output: str | None = None, **attributes: Any) -> str:
        """Add a node at the end, whose one output has a fresh name if none is given, and return that."""
        name = output or self.fresh(op_type.lower())
        self.proto.node.append(helper.make_node(op_type, inputs, [name], name=f"camrt/{name}", **attributes))
        return name

    def add_reshape(self, tensor: str, shape: Sequence[int]) -> str:
        """Add a Reshape at the end and return its output."""
        return self.add_node("Reshape", [tensor, self.add_initializer("shape", np.array(shape, np.int64))])

    def producer(self, tensor: str) -> NodeProto | None:
        """Return the node that computes a tensor; None for inputs and initializers."""
        return self._producers.get(tensor)

    def consumers(self, tensor: str) -> list[NodeProto]:
        """Return the nodes that read a tensor."""
        return [node for node in self.proto.node if tensor in node.input]

    def ancestors(self, tensor: str) -> list[NodeProto]:
        """Return every node that a tensor depends on, in the graph's order."""
        wanted, todo = set(), [tensor]
        while todo:
            node = self.producer(todo.pop())
            if node is not None and id(node) not in wanted:
                wanted.add(id(node))
                todo.extend(reads(node))
        return [node for node in self.proto.node if id(node) in wanted]

    def infer_shapes(self) -> None:
        """Work out what is known of the tensors' types and shapes, for `shape` and `elem_type`."""
        try:
            inferred = onnx.shape_inference.infer_shapes(self.model, data_prop=True).graph
        except onnx.shape_inference.InferenceError:
            inferred = self.proto  # what is unknown is proven or refused by running the graph
        self._shapes = {value.name: value for value in [*inferred.value_info, *inferred.input, *inferred.output]}

    def shape(self, tensor: str) -> tuple[int | None, ...] | None:
        """Return a tensor's shape, None for each dimension that is not fixed; None: not even the rank is known."""
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
        """Return a tensor's ``TensorProto`` data type; UNDEFINED where it is not known."""
        if tensor in self.initializers:
            return int(self.initializers[tensor].data_type)
        value = self._shapes.get(tensor)
        return TensorProto.UNDEFINED if value is None else int(value.type.tensor_type.elem_type)

    def note_type(self, tensor: str, like: str) -> None:
        """Remember that a tensor that was added has numbers of the type that another has."""
        self._shapes[tensor] = helper.make_tensor_value_info(tensor, self.elem_type(like), None)

    def constant(self, tensor: str) -> Array | None:
        """Return the value of a tensor that depends on no input; None if it depends on one."""
        if tensor not in self._constants:
            self._constants[tensor] = self._evaluate(tensor)
        return self._constants[tensor]

    def _evaluate(self, tensor: str) -> Array | None:
        if tensor in self.initializers:
            return numpy_helper.to_array(self.initializers[tensor])
        nodes = self.ancestors(tensor)
        inputs = {value.name for value in self.proto.input}
        if not nodes or any(name in inputs for node in nodes for name in reads(node)):
            return None
        used = {name for node in nodes for name in reads(node)}
        part = helper.make_graph(
            nodes,
            "constants",
            [],
            [helper.make_empty_tensor_value_info(tensor)],
            [self.initializers[name] for name in sorted(used) if name in self.initializers],
        )
        model = helper.make_model(part, opset_imports=self.model.opset_import, ir_version=self.model.ir_version)
        return run_constant(model)

    def sort(self) -> None:
        """Put every node behind those that it reads from, which ONNX asks for, and else leave the order as it is.

        Raises:
            ExportError: there is no such order.
        """
        nodes = list(self.proto.node)
        order: list[NodeProto] = []
        placed: set[int] = set()
        begun: set[int] = set()
        todo = nodes[::-1]
        while todo:
            node = todo.pop()
            if id(node) in placed:
                continue
            before = [self._producers[name] for name in reads(node) if name in self._producers]
            if waiting := [entry for entry in before if id(entry) not in placed]:
                if id(node) in begun:
                    raise ExportError(f"the graph runs in a circle at {node.op_type} node {node.name!r}")
                begun.add(id(node))
                todo += [node, *waiting]
            else:
                placed.add(id(node))
                order.append(node)
        copies = [NodeProto.FromString(node.SerializeToString()) for node in order]
        del self.proto.node[:]
        self.proto.node.extend(copies)
        self.reindex()

    def prune(self, outputs: Sequence[ValueInfoProto]) -> None:
        """Let ``outputs`` be the graph's outputs and drop all that none of them needs."""
        del self.proto.output[:]
        self.proto.output.extend(outputs)
        self.reindex()
        wanted = {id(node) for output in outputs for node in self.ancestors(output.name)}
        _keep(self.proto.node, lambda node: id(node) in wanted)
        used = {name for node in self.proto.node for name in reads(node)} | {output.name for output in outputs}
        _keep(self.proto.initializer, lambda tensor: tensor.name in used)
        _keep(self.proto.quantization_annotation, lambda entry: entry.tensor_name in used)
        self.reindex()


def _keep(field: Any, wanted: Callable[[Any], bool]) -> None:
    """Drop the messages of a repeated field that are not wanted."""
    for index in reversed(range(len(field))):
        if not wanted(field[index]):
            del field[index]


def copied(model: ModelProto) -> ModelProto:
    """Return a copy of a model, to be changed by itself."""
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
    return bool(_subgraphs(node))


def _subgraphs(node: NodeProto) -> list[GraphProto]:
    return [graph for entry in node.attribute for graph in ([entry.g] if entry.HasField("g") else entry.graphs)]


def reads(node: NodeProto) -> list[str]:
    """Return what a node reads; its subgraphs may read any tensor of the graph around them."""
    inner = [name for graph in _subgraphs(node) for child in graph.node for name in reads(child)]
    inner += [output.name for graph in _subgraphs(node) for output in graph.output]
    return [name for name in [*node.input, *inner] if name]


def _all_names(graph: GraphProto) -> set[str]:
    names = {value.name for value in [*graph.input, *graph.output, *graph.value_info, *graph.initializer]}
    for node in graph.node:
        names.update(node.input, node.output)
        for inner in _subgraphs(node):
            names |= _all_names(inner)
    return names


def _rename(graph: GraphProto, mapping: Mapping[str, str]) -> None:
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
        for inner in _subgraphs(node):
            _rename(inner, mapping)
