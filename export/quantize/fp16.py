"""Convert a model file's backbone to 16-bit floats, with ONNX Runtime's converter.

The converter rounds whatever the graph holds. So the graph is scaled before (`half_scales`), and nodes whose numbers no
scale brings into range stay in float32.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from camrt.errors import ExportError
from camrt.export.error_text import first_line
from camrt.export.graph.graph import Graph, attribute, copy_model
from camrt.export.graph.session import onnxruntime_version
from camrt.export.graph.synthetic_images import Images
from camrt.export.quantize.backbone import SplitModel, preprocessing_nodes
from camrt.export.quantize.half_scales import (
    ScaleGroups,
    data_inputs,
    normalize_statistics,
    scaled_constants,
)
from camrt.export.quantize.half_storage import LARGEST, largest_numbers, storage_error, storage_errors

MAX_ERROR: Final = 2.0**-9
"""Relative error of a tensor in 16-bit floats above which the nodes around it stay in float32: ten times the usual."""
MAX_IMAGES: Final = 32
"""Images on which the numbers are measured, at most."""
_LARGEST_FACTOR: Final = 14
"""Exponent up to which a power of two is a 16-bit float with all its bits."""
_CLIP_BOUNDS: Final = (1, 2)
_READS_ANY_SIZE: Final = ("Sigmoid", "HardSigmoid")
"""Operators that saturate: a large input may become infinite, and a small one 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfModel:
    """A model file in 16-bit floats, without metadata."""

    model: ModelProto
    scaled: bool
    """Tensors of the file are scaled by powers of two."""
    float_nodes: int
    """Nodes of the backbone that compute in float32, without those of the preprocessing."""


def to_half(split: SplitModel, images: Images) -> HalfModel:
    """Return a model file whose backbone computes in 16-bit floats; its preprocessing and its maps stay float32.

    Args:
        split: the network.
        images: uint8 (N, H, W, 3), BGR, at the network's size, on which the size of its numbers is measured.

    Raises:
        ExportError: the network cannot be run, or ONNX Runtime's converter fails.
        MissingExtra: ONNX Runtime is not installed.
    """
    backbone = Backbone(split, images[:: -(-len(images) // MAX_IMAGES)])
    scaled = backbone.apply_scales()
    converted = _convert(backbone.graph.model, backbone.float32_nodes)
    model = split.join(converted, split.head, TensorProto.FLOAT)
    return HalfModel(model=model, scaled=scaled, float_nodes=len(backbone.float_nodes))


class Backbone:
    """A backbone, the scales of its tensors, and the nodes that stay in float32."""

    def __init__(self, split: SplitModel, images: Images) -> None:
        """Measure the network on images, and choose scales and nodes."""
        self.graph = Graph(copy_model(split.backbone))
        normalize_statistics(self.graph)
        self.graph.infer_shapes()
        self._maps = split.maps
        self._preprocessing = preprocessing_nodes(self.graph.model)
        by_name = {node.name: node for node in self.graph.proto.node}
        private = {by_name[name].output[0] for name in self._preprocessing[:-1]}
        self._pixels = by_name[self._preprocessing[-1]].output[0] if self._preprocessing else None
        self._largest = {
            name: value
            for name, value in largest_numbers(self.graph.model, images).items()
            if name not in private and self.graph.constant(name) is None
        }
        self._tensors = self._largest.keys()
        self.groups = ScaleGroups(self.graph, self._tensors, set(self._preprocessing))
        self.groups.scale(self._largest)
        if coarse := self._coarse_layers():
            around = {name for node in coarse for name in (*node.input, *node.output)} & self._tensors
            self.groups.scale(self._largest, around)
        self.float_nodes = {node.name for node in self._coarse_layers()} | self._coarse_nodes(images)
        """Names of the nodes that stay in float32 because of their numbers."""
        self.float32_nodes = [*self._preprocessing, *sorted(self.float_nodes)]
        """The same, with those of the preprocessing; after `apply_scales`, with scalings of float32 numbers."""

    def _exponents(self, node: NodeProto) -> tuple[dict[str, int], dict[str, int]]:
        """Return the exponents in which a node itself reads its inputs and gives its outputs."""
        role = self.groups.roles[node.name]
        inputs, outputs = data_inputs(node, self._tensors), [name for name in node.output if name in self._tensors]
        if role in ("gate", "other"):
            return dict.fromkeys(inputs, 0), dict.fromkeys(outputs, 0)
        reads = {name: self.groups.exponent(name) for name in inputs}
        if role == "product":
            return reads, dict.fromkeys(outputs, sum(self.groups.exponent(name) for name in inputs))
        return reads, {name: self.groups.exponent(name) for name in outputs}

    def _scaled_constants(self, node: NodeProto) -> dict[int, np.ndarray[Any, np.dtype[np.float32]]]:
        """Return the constants that a node needs for its scales, by position."""
        role = self.groups.roles[node.name]
        positions = scaled_constants(self.graph, node, role, self._tensors)
        data = data_inputs(node, self._tensors)
        results = [name for name in node.output if name in self._tensors]
        if not results:
            return {}
        output = self.groups.exponent(results[0])
        change = output - (self.groups.exponent(data[0]) if data else 0)
        exponents = {
            **dict.fromkeys(positions.factors, change),
            **dict.fromkeys(positions.divisors, -change),
            **dict.fromkeys(positions.terms, output),
        }
        return {
            position: np.ldexp(np.asarray(self.graph.constant(node.input[position]), np.float32), exponent)
            for position, exponent in exponents.items()
        }

    def _coarse_layers(self) -> list[NodeProto]:
        """Return the nodes whose constants lose too much in 16-bit floats, or whose sums overflow."""
        coarse = []
        for node in self.graph.proto.node:
            role = self.groups.roles.get(node.name)
            if role is not None and self._largest_sum(node) > LARGEST:
                coarse.append(node)
            if role not in ("linear", "same") or node.op_type == "Clip":
                continue
            positions = scaled_constants(self.graph, node, role, self._tensors)
            for position, values in self._scaled_constants(node).items():
                size = None
                if position in positions.terms:
                    (name, exponent), *_ = self._exponents(node)[1].items()
                    size = float(np.ldexp(self._largest[name], exponent - 4))  # typical numbers are 1/16 of the largest
                if storage_error(values, 0, size) > MAX_ERROR:
                    coarse.append(node)
                    break
        return coarse

    def _coarse_nodes(self, images: Images) -> set[str]:
        """Return the names of the nodes that read or give tensors which lose too much in 16-bit floats."""
        nodes = [node for node in self.graph.proto.node if node.name in self.groups.roles]
        needed: dict[str, set[int]] = {name: {self.groups.exponent(name)} for name in self._tensors}
        for node in nodes:
            for exponents in self._exponents(node):
                for name, exponent in exponents.items():
                    needed[name].add(exponent)
        errors = storage_errors(self.graph.model, images, needed)
        coarse = set()
        for node in nodes:
            reads, gives = self._exponents(node)
            stored = {name: self.groups.exponent(name) for name in (*reads, *gives)}
            pairs = {*stored.items(), *gives.items()}
            if node.op_type not in _READS_ANY_SIZE:
                pairs |= {*reads.items()}
            if any(errors[pair] > MAX_ERROR for pair in pairs):
                coarse.add(node.name)
        return coarse

    def _largest_sum(self, node: NodeProto) -> float:
        """Return the largest sum that a node divides by the number of its terms; 0 for nodes that take no mean."""
        if node.op_type == "AveragePool":
            count = float(np.prod(attribute(node, "kernel_shape")))
        elif node.op_type in ("GlobalAveragePool", "ReduceMean"):
            before, after = (self.graph.shape(name) for name in (node.input[0], node.output[0]))
            sizes = [float(np.prod([size for size in shape or () if size])) for shape in (before, after)]
            count = sizes[0] / sizes[1]
        else:
            return 0.0
        results = self._exponents(node)[1]
        return max((count * float(np.ldexp(self._largest[name], results[name])) for name in results), default=0.0)

    def apply_scales(self) -> bool:
        """Change the constants of the graph, and add a Mul where no constant takes the factor.

        Returns: True if anything is scaled.
        """
        if not any(self.groups.exponent(name) for name in self._tensors):
            return False
        nodes: list[NodeProto] = []
        for node in list(self.graph.proto.node):
            if node.name not in self.groups.roles:
                nodes.append(node)
                if self._pixels is not None and self._pixels in node.output:
                    nodes += self._scale_output(node, {self._pixels: 0}, in_float32=True)
                continue
            reads, gives = self._exponents(node)
            for position, values in self._scaled_constants(node).items():
                is_bound = node.op_type == "Clip" and position in _CLIP_BOUNDS
                kept = np.clip(values, -LARGEST, LARGEST) if is_bound else values
                node.input[position] = self.graph.add_initializer("half_scaled", np.asarray(kept, np.float32))
            in_float32 = node.name in self.float_nodes
            for name, exponent in reads.items():
                if change := exponent - self.groups.exponent(name):
                    unscaled = self.graph.unique_name("half_unscaled")
                    nodes.append(self._mul(name, unscaled, change, in_float32=in_float32))
                    node.input[:] = [unscaled if entry == name else entry for entry in node.input]
            nodes += [node, *self._scale_output(node, gives, in_float32=in_float32)]
        if exponent := self.groups.exponent(self._maps):
            scaled = self.graph.unique_name("half_scaled_maps")
            for node in nodes:
                for names in (node.input, node.output):
                    names[:] = [scaled if name == self._maps else name for name in names]
            nodes.append(self._mul(scaled, self._maps, -exponent, in_float32=True))
        copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del self.graph.proto.node[:]
        self.graph.proto.node.extend(copies)
        del self.graph.proto.value_info[:]
        self.graph.prune(list(self.graph.proto.output))
        return True

    def _scale_output(self, node: NodeProto, gives: Mapping[str, int], *, in_float32: bool) -> list[NodeProto]:
        """Let a node give its outputs under other names; return the nodes that scale these."""
        added = []
        for name, exponent in gives.items():
            if change := self.groups.exponent(name) - exponent:
                unscaled = self.graph.unique_name("half_unscaled")
                node.output[:] = [unscaled if entry == name else entry for entry in node.output]
                added.append(self._mul(unscaled, name, change, in_float32=in_float32))
        return added

    def _mul(self, source: str, target: str, exponent: int, *, in_float32: bool) -> NodeProto:
        factor = self.graph.add_initializer("half_power_of_two", np.ldexp(np.float32(1), exponent))
        node = helper.make_node("Mul", [source, factor], [target], name=self.graph.unique_name("half_scaling"))
        if in_float32 or abs(exponent) > _LARGEST_FACTOR:
            self.float32_nodes.append(node.name)
        return node


def _convert(backbone: ModelProto, float32_nodes: list[str]) -> ModelProto:
    """Return the backbone in 16-bit floats, except for some nodes, by name."""
    onnxruntime_version()
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.transformers.float16 import convert_float_to_float16

    graph = Graph(backbone)
    for node in graph.proto.node:  # the converter would round a constant that a node in 16-bit floats reads too
        if node.name in float32_nodes:
            for position, name in enumerate(node.input):
                if name in graph.initializers and graph.initializers[name].data_type == TensorProto.FLOAT:
                    node.input[position] = graph.add_initializer("half_float", np.asarray(graph.constant(name)))
    logging.getLogger("onnxruntime.transformers.float16").setLevel(logging.ERROR)
    try:
        half = convert_float_to_float16(backbone, keep_io_types=True, node_block_list=float32_nodes)
    except (AssertionError, ValueError, KeyError, RuntimeError) as error:
        raise ExportError(
            f"ONNX Runtime failed to convert the network to 16-bit floats: {first_line(error)}"
        ) from error
    ordered = ONNXModel(half)
    ordered.topological_sort()  # the converter appends its Cast nodes at the end
    return _without_round_trips(ordered.model)


def _without_round_trips(model: ModelProto) -> ModelProto:
    """Connect nodes in float32 directly: the converter rounds what they give to 16-bit floats and back."""
    graph = Graph(model)
    graph.infer_shapes()
    outputs = {value.name for value in graph.proto.output}
    for node in list(graph.proto.node):
        before = graph.producer(node.input[0]) if node.op_type == "Cast" else None
        if before is None or before.op_type != "Cast" or attribute(node, "to") != TensorProto.FLOAT:
            continue
        exact, result = before.input[0], node.output[0]
        if attribute(before, "to") != TensorProto.FLOAT16 or graph.elem_type(exact) != TensorProto.FLOAT:
            continue
        if result in outputs:
            graph.proto.node.remove(node)
            graph.rename({exact: result})
        else:
            for reader in graph.consumers(result):
                reader.input[:] = [exact if name == result else name for name in reader.input]
    graph.prune(list(graph.proto.output))
    return graph.model
