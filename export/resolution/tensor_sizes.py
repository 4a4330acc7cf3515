"""Compute the shape of every tensor at one input size, node by node.

ONNX's own inference stops at a shape that is computed from another one. Here such numbers are computed too, because
the shape of every tensor before them is known.
"""

import contextlib
from collections.abc import Mapping
from typing import Final

import numpy as np
import onnx
from onnx import NodeProto, TypeProto, helper, numpy_helper
from onnx.shape_inference import InferenceError, infer_node_outputs

from camrt.errors import ExportError
from camrt.export.error_text import first_line
from camrt.export.graph.graph import Array, Graph, attribute, has_subgraphs
from camrt.export.graph.session import run_constant

_MOST_NUMBERS: Final = 4096
"""Larger constants hold weights, no shapes."""

_WITH_WINDOWS: Final = ("Conv", "ConvInteger", "AveragePool", "MaxPool", "LpPool")
Shape = tuple[int, ...]


class SizeMismatchError(ExportError):
    """The inputs of a node do not fit each other at this size."""


class TensorSizes:
    """Shapes of the tensors of a graph for one batch at one input size; `step` adds those of one node."""

    def __init__(self, graph: Graph, input_shape: Shape) -> None:
        """Begin with the input.

        Args:
            graph: with one input; nodes may be added while it is walked.
            input_shape: of the input, with the batch.
        """
        self.graph = graph
        value = graph.proto.input[0]
        elem_type = value.type.tensor_type.elem_type
        self._types: dict[str, TypeProto] = {value.name: helper.make_tensor_type_proto(elem_type, input_shape)}
        self._numbers: dict[str, Array] = {}
        """Values that depend on the input's size only."""
        self._versions = {entry.domain: int(entry.version) for entry in graph.model.opset_import}

    def walk(self) -> None:
        """Compute all shapes; behind a node whose inputs do not fit each other they stay unknown."""
        for node in self.graph.proto.node:
            with contextlib.suppress(SizeMismatchError):
                self.step(node)

    def shape(self, tensor: str) -> Shape | None:
        """Return a tensor's shape; None where it is unknown."""
        if tensor in self.graph.initializers:
            return tuple(self.graph.initializers[tensor].dims)
        entry = self._types.get(tensor)
        if entry is None or not entry.tensor_type.HasField("shape"):
            return None
        dimensions = entry.tensor_type.shape.dim
        if not all(dimension.HasField("dim_value") for dimension in dimensions):
            return None
        return tuple(dimension.dim_value for dimension in dimensions)

    def numbers(self, tensor: str) -> Array | None:
        """Return the value of a small tensor that is constant, or depends on the input's size only; else None."""
        if tensor in self._numbers:
            return self._numbers[tensor]
        shape = self.shape(tensor)
        if not tensor or shape is None or np.prod(shape, dtype=np.int64) > _MOST_NUMBERS:
            return None
        return self.graph.constant(tensor)

    def set_like(self, tensor: str, other: str) -> None:
        """Give a tensor that the graph did not have before the shape of another."""
        if other in self._types:
            self._types[tensor] = self._types[other]

    def step(self, node: NodeProto) -> None:
        """Compute the shapes of a node's outputs; they stay unknown where ONNX does not define its operator.

        Raises:
            SizeMismatchError: the inputs do not fit each other.
        """
        numbers = self._computed_numbers(node)
        if numbers is not None:
            self._numbers[node.output[0]] = numbers
            elem_type = helper.np_dtype_to_tensor_dtype(numbers.dtype)
            self._types[node.output[0]] = helper.make_tensor_type_proto(elem_type, numbers.shape)
            return
        self._types.update(self._inferred(node))
        if node.op_type == "Reshape":
            self._check_reshape(node)
        elif min(self.shape(node.output[0]) or (1,), default=1) < 1 and node.op_type in _WITH_WINDOWS:
            raise SizeMismatchError("its window is larger than the map, so no cell is left; choose a larger size")

    def _computed_numbers(self, node: NodeProto) -> Array | None:
        """Return the value of a node's output, if that depends on the input's size only."""
        if node.domain not in ("", "ai.onnx") or len(node.output) != 1 or has_subgraphs(node):
            return None
        if node.op_type in ("Shape", "Size"):
            shape = self.shape(node.input[0])
            if shape is None:
                return None
            part = shape[slice(attribute(node, "start", 0), attribute(node, "end"))]
            return np.array(part if node.op_type == "Shape" else np.prod(shape, dtype=np.int64), np.int64)
        if self._numbers.keys().isdisjoint(node.input):
            return None
        values = {name: self.numbers(name) for name in node.input if name}
        if any(value is None for value in values.values()):
            return None
        initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]
        outputs = [helper.make_empty_tensor_value_info(node.output[0])]
        graph = helper.make_graph([node], "numbers", [], outputs, initializers)
        model = self.graph.model
        return run_constant(helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version))

    def _inferred(self, node: NodeProto) -> Mapping[str, TypeProto]:
        domain = "" if node.domain == "ai.onnx" else node.domain
        try:
            schema = onnx.defs.get_schema(node.op_type, self._versions.get(domain, 1), domain)
        except onnx.defs.SchemaError:
            return {}
        types, data = {}, {}
        for name in node.input:
            if name in self.graph.initializers:
                tensor = self.graph.initializers[name]
                types[name] = helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
            elif name in self._types:
                types[name] = self._types[name]
            elif name:
                return {}
            if name and (value := self._shape_operand(name, types[name])) is not None:
                data[name] = numpy_helper.from_array(value, name)
        if has_subgraphs(node):
            return {}
        try:
            return dict(infer_node_outputs(schema, node, types, data))
        except InferenceError as error:
            raise SizeMismatchError(first_line(error)) from error

    def _shape_operand(self, tensor: str, kind: TypeProto) -> Array | None:
        """Return the value of a tensor of one axis, which may be a shape, bounds or scales."""
        return self.numbers(tensor) if len(kind.tensor_type.shape.dim) == 1 else None

    def _check_reshape(self, node: NodeProto) -> None:
        """Compare the number of values, which ONNX's inference does not. Raises: SizeMismatchError."""
        before, after = self.shape(node.input[0]), self.shape(node.output[0])
        if before is not None and after is not None and np.prod(before) != np.prod(after):
            raise SizeMismatchError(f"it makes {list(after)} of {list(before)}")
