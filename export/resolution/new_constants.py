"""Nodes that compute numbers from the shape of a tensor."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from camrt.export.graph.graph import Graph
from camrt.export.resolution.tensor_sizes import TensorSizes


class NewConstants:
    """Adds nodes whose values follow the input's size, and computes their shapes at once."""

    def __init__(self, graph: Graph, sizes: TensorSizes) -> None:
        self.graph, self.sizes = graph, sizes

    def node(self, op_type: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node; return its output."""
        name = self.graph.add_node(op_type, inputs, **attributes)
        self.sizes.step(self.graph.proto.node[-1])
        return name

    def product(self, tensor: str, axes: Sequence[int]) -> str:
        """Return int64 [1]: the product of some lengths of a tensor."""
        index = self.graph.add_initializer("axes", np.array(axes, np.int64))
        lengths = self.node("Gather", [self.node("Shape", [tensor]), index])
        return lengths if len(axes) == 1 else self.node("ReduceProd", [lengths], keepdims=1)

    def joined(self, parts: Sequence[int | str]) -> str:
        """Return int64 [n] of numbers and of tensors of one number; a constant where all are numbers."""
        if all(isinstance(part, int) for part in parts):
            return self.graph.add_initializer("shape", np.array(parts, np.int64))
        names = [
            self.graph.add_initializer("length", np.array([part], np.int64)) if isinstance(part, int) else part
            for part in parts
        ]
        return self.node("Concat", names, axis=0)
