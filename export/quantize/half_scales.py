"""Powers of two that bring the tensors of a network into the range of 16-bit floats.

16-bit floats hold 6e-5 to 65504 with 11 bits; smaller numbers lose bits and end as 0. A convolution may give its output
in another scale for free: its weights take the factor. Relu, Add, Concat, Clip, pools and the like need one scale for
all their tensors, so these tensors form a group. A power of two is exact.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from onnx import NodeProto

from camrt.export.graph.graph import Graph, attribute, subgraphs

Role = Literal["same", "linear", "product", "gate", "other"]

COMMON_SCALE: Final = {
    *("Relu", "LeakyRelu", "PRelu", "Neg", "Abs", "Identity", "Dropout"),
    *("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceMax", "ReduceMin"),
    *("ReduceSum", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather", "Expand"),
    *("Tile", "DepthToSpace", "SpaceToDepth", "Resize", "Upsample"),
}
"""Operators whose output scales with their data."""
ADDITIVE: Final = {"Add", "Sub", "Sum", "Mean", "Max", "Min", "Clip", "Concat", "Pad", "Where"}
"""The same, and their constants are of the same scale as their data."""
LAYERS: Final = {"Conv", "ConvTranspose", "Gemm"}
"""Layers with weights at input 1 and an optional bias at input 2."""
GATES: Final = {"Sigmoid", "HardSigmoid", "Softmax"}
"""Operators whose output is at most 1, whatever they read."""

_COMFORTABLE: Final = (2.0**-4, 2.0**10)
"""A group whose largest number is in this range keeps its scale: 64 times below overflow, 1000 steps of bits above the
smallest number with 11 bits."""
_TARGET: Final = 4
"""The largest number of a scaled group is at least 2 ** this, and less than twice that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Constants:
    """The constants of a node that a scale changes, as positions of its inputs."""

    factors: tuple[int, ...] = ()
    """They get the output's exponent minus the input's."""
    divisors: tuple[int, ...] = ()
    """They get the input's exponent minus the output's."""
    terms: tuple[int, ...] = ()
    """They get the output's exponent."""


def data_inputs(node: NodeProto, tensors: Set[str]) -> list[str]:
    """Return the activations that a node reads."""
    return [name for name in node.input if name in tensors]


def role_of(graph: Graph, node: NodeProto, tensors: Set[str]) -> Role:
    """Return how the scale of a node's output depends on the scales of its inputs.

    Args:
        graph: the network.
        node: one of its nodes.
        tensors: names of all activations in floats.

    Returns: ``same``: all have one scale; ``linear``: any two scales, the constants take the difference; ``product``:
    the output has the product of the scales; ``gate``: reads unscaled numbers and gives numbers of at most 1;
    ``other``: reads and gives unscaled numbers.
    """
    if node.domain not in ("", "ai.onnx"):
        return "other"
    data = data_inputs(node, tensors)
    parameters = [name for name in node.input[1:] if name]
    if node.op_type in GATES:
        return "gate"
    if node.op_type in ADDITIVE:
        return "same"
    if node.op_type in COMMON_SCALE:
        return "other" if set(parameters) & tensors else "same"
    constant = all(graph.constant(name) is not None for name in node.input if name and name not in tensors)
    if not constant or not data:
        return "other"
    if node.op_type in LAYERS or node.op_type == "BatchNormalization":
        trains = bool(attribute(node, "training_mode", 0))
        return "linear" if data == [node.input[0]] and not trains else "other"
    if node.op_type in ("Mul", "MatMul"):
        return "linear" if len(data) == 1 else "product"
    return "linear" if node.op_type == "Div" and data == [node.input[0]] else "other"


def scaled_constants(graph: Graph, node: NodeProto, role: Role, tensors: Set[str]) -> Constants:
    """Return which constants of a node a scale changes."""
    floats = tuple(
        position
        for position, name in enumerate(node.input)
        if name and name not in tensors and (value := graph.constant(name)) is not None and value.dtype == np.float32
    )
    if role == "same":
        return Constants(terms=floats) if node.op_type in ADDITIVE else Constants()
    if role != "linear":
        return Constants()
    if node.op_type == "Div":
        return Constants(divisors=floats)
    if node.op_type == "BatchNormalization":  # see `normalize_statistics`: its mean is 0 and its variance 1
        return Constants(factors=(1,), terms=(2,))
    if node.op_type in LAYERS:
        return Constants(factors=(1,), terms=tuple(position for position in floats if position == 2))
    return Constants(factors=floats)


def normalize_statistics(graph: Graph) -> None:
    """Rewrite each BatchNormalization with mean 0 and variance 1, whose scale and bias do the same.

    A mean or a variance of any size fits no 16-bit float; the scale and the bias that they make do, with an exponent.
    """
    for node in graph.proto.node:
        if node.op_type != "BatchNormalization" or attribute(node, "training_mode", 0):
            continue
        values = [graph.constant(name) for name in node.input[1:]]
        if any(value is None for value in values):
            continue
        scale, bias, mean, variance = (np.asarray(value, np.float64) for value in values)
        epsilon = float(attribute(node, "epsilon", 1e-5))
        factor = scale / np.sqrt(variance + epsilon)
        changed = {
            "half_bn_scale": factor * np.sqrt(1 + epsilon),
            "half_bn_bias": bias - mean * factor,
            "half_bn_mean": np.zeros_like(mean),
            "half_bn_variance": np.ones_like(mean),
        }
        node.input[1:] = [graph.add_initializer(stem, value.astype(np.float32)) for stem, value in changed.items()]
    graph.reindex()


class ScaleGroups:
    """The groups of tensors that need one scale, and the exponent of each."""

    def __init__(self, graph: Graph, tensors: Set[str], skipped: Set[str]) -> None:
        """Form the groups; every exponent is 0.

        Args:
            graph: the network.
            tensors: names of all activations in 16-bit floats.
            skipped: names of nodes that compute in float32 in any case.
        """
        self._parents = {name: name for name in tensors}
        self._exponents: dict[str, int] = {}
        self._fixed: set[str] = set()
        self.roles: dict[str, Role] = {}
        """By the name of the node."""
        captured = {name for node in graph.proto.node for part in subgraphs(node) for name in _names_in(part)}
        self._fixed = captured & tensors
        for node in graph.proto.node:
            if node.name in skipped:
                continue
            role = self.roles[node.name] = role_of(graph, node, tensors)
            data, outputs = data_inputs(node, tensors), [name for name in node.output if name in tensors]
            if role == "gate":
                self._fixed |= set(outputs)
            elif role == "same":
                self._join([*data, *outputs])
            elif role == "product" and node.op_type == "Mul":  # a gate leaves the scale of what it multiplies
                others = [name for name in data if not self._is_fixed(name)]
                if len(others) < len(data):
                    self._join([*others[:1], *outputs])

    def exponent(self, tensor: str) -> int:
        """Return e: the tensor holds its numbers times 2 ** e."""
        return self._exponents.get(self._root(tensor), 0)

    def scale(self, largest: Mapping[str, float], also: Set[str] = frozenset()) -> None:
        """Choose the exponents of the groups whose largest number is far from 1, and of the groups of ``also``.

        Args:
            largest: absolute value, by tensor.
            also: tensors whose groups are scaled whatever their size.
        """
        groups: dict[str, float] = {}
        for name, value in largest.items():
            root = self._root(name)
            groups[root] = max(groups.get(root, 0.0), value)
        chosen = {self._root(name) for name in also}
        low, high = _COMFORTABLE
        for root, value in groups.items():
            if not 0 < value < np.inf or self._is_fixed(root):
                continue
            if root in chosen or not low <= value <= high:
                self._exponents[root] = _TARGET + 1 - int(np.frexp(value)[1])

    def _is_fixed(self, name: str) -> bool:
        return self._root(name) in {self._root(fixed) for fixed in self._fixed}

    def _root(self, name: str) -> str:
        while self._parents[name] != name:
            name = self._parents[name]
        return name

    def _join(self, names: list[str]) -> None:
        for name in names[1:]:
            self._parents[self._root(name)] = self._root(names[0])


def _names_in(graph: Any) -> set[str]:
    return {name for node in graph.node for name in node.input} | {
        name for node in graph.node for part in subgraphs(node) for name in _names_in(part)
    }
