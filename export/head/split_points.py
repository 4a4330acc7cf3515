"""Tensors on every path from the input to the logits (single-tensor split points).

What follows such a tensor depends on it alone, so it can run on one cell of the tensor at a time:
`camrt.export.head.nonlinear`.
"""

from dataclasses import dataclass

import numpy as np
from onnx import NodeProto, TensorProto, helper

from camrt.export.graph.graph import Array, Graph, attribute, node_inputs
from camrt.export.graph.network_input import NetworkInput
from camrt.export.graph.session import open_session, run_session
from camrt.export.head.pooling import reduced_axes

SHAPE_OPS = ("Shape", "Size")
"""They read the size of a tensor, not its numbers."""


@dataclass(frozen=True, slots=True)
class SplitPoint:
    """A tensor on every path from the input to the logits."""

    tensor: str
    layout: str | None
    """A letter for each axis: n batch, c channels, h rows, w columns, t tokens, ``?`` unknown; None: no map."""
    shape: tuple[int, ...]
    """For one image; from a run of the network."""
    is_float: bool
    """False for integers, where zero need not mean "no signal"."""

    @property
    def is_feature_map(self) -> bool:
        """True for [1, C, h, w] of more than one cell."""
        return self.is_float and self.layout == "nchw" and self.shape[2] * self.shape[3] > 1

    @property
    def is_token_sequence(self) -> bool:
        """True for [1, T, C] of more than one token."""
        return self.is_float and self.layout is not None and len(self.shape) == 3 and self.shape[1] > 1


def find_split_points(graph: Graph, network_input: NetworkInput, logits: str) -> list[SplitPoint]:
    """Return the split points between the network's input and ``logits``, in the graph's order; ``logits`` is the last.

    Raises:
        ExportError: the network cannot be run.
    """
    names = [*_split_tensors(graph, network_input.name, logits), logits]
    layouts = _layouts(graph, network_input)
    values = run_tensors(graph, network_input, names)
    return [
        SplitPoint(name, _guess_layout(layouts.get(name), value.shape, network_input), value.shape,
                   value.dtype.kind == "f")
        for name, value in zip(names, values, strict=True)
    ]  # fmt: skip


def dependents(graph: Graph, source: str, *, by_size: bool) -> set[str]:
    """Return the tensors that depend on ``source``; with ``by_size`` also those that depend on its size only."""
    tensors = {source}
    for node in graph.proto.node:
        if (by_size or node.op_type not in SHAPE_OPS) and not tensors.isdisjoint(node_inputs(node)):
            tensors.update(name for name in node.output if name)
    return tensors


def _split_tensors(graph: Graph, source: str, logits: str) -> list[str]:
    """Return the tensors after whose computation no earlier tensor is needed."""
    on_input = dependents(graph, source, by_size=False)
    nodes = [node for node in graph.ancestors(logits) if not on_input.isdisjoint(node.output)]
    last_use = {name: index for index, node in enumerate(nodes) for name in node_inputs(node)
                if name in on_input and node.op_type not in SHAPE_OPS}  # fmt: skip
    alive, tensors = {source}, []
    for index, node in enumerate(nodes):
        alive |= {name for name in node.output if name in last_use}
        alive = {name for name in alive if last_use[name] > index}
        if len(alive) == 1 and (name := next(iter(alive))) in node.output:
            tensors.append(name)
    return tensors


def _layouts(graph: Graph, network_input: NetworkInput) -> dict[str, str]:
    """Follow the meaning of each axis through the graph, as far as the operators determine it."""
    layouts: dict[str, str] = {network_input.name: network_input.layout}
    for node in graph.proto.node:
        input_layouts = [layouts[name] for name in node.input if name in layouts]
        layout = _layout_after(graph, node, input_layouts)
        if layout is not None:
            layouts[node.output[0]] = layout
    return layouts


def _guess_layout(layout: str | None, shape: tuple[int, ...], network_input: NetworkInput) -> str | None:
    """Take a map of unknown layout for channels first, if its last two axes have the image's proportions."""
    if layout == "n???" and len(shape) == 4 and shape[2] * network_input.width == shape[3] * network_input.height:
        return "nchw"
    return layout


def _layout_after(graph: Graph, node: NodeProto, input_layouts: list[str]) -> str | None:
    """Return the layout of a node's output; None: unknown."""
    shape = graph.shape(node.output[0])
    rank = None if shape is None else len(shape)
    first = input_layouts[0] if input_layouts else None
    unknown = {3: "n??", 4: "n???"}.get(rank or 0)
    if node.op_type in _CHANNELS_FIRST_OPS:
        return "nchw" if rank in (4, None) else None
    if node.op_type == "Transpose":
        permutation = attribute(node, "perm")
        if tuple(permutation or ()) == (0, 3, 1, 2) and (first is None or "?" in first):
            return "nchw"  # exporters insert this permutation to put channels first, for a convolution
        return "".join(first[axis] for axis in permutation) if first is not None and permutation else None
    if node.op_type.startswith("Reduce"):
        axes, reduced = reduced_axes(graph, node), "1" if attribute(node, "keepdims", 1) else ""
        if first is None or not axes:
            return None
        return "".join(reduced if index in axes else axis for index, axis in enumerate(first))
    if node.op_type in ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Gather"):
        return unknown
    return next((layout for layout in input_layouts if rank in (len(layout), None)), unknown)


def run_tensors(graph: Graph, network_input: NetworkInput, names: list[str]) -> list[Array]:
    """Return tensors of the network for one black image."""
    network = graph.copy()
    network.prune([helper.make_empty_tensor_value_info(name) for name in names])
    dtype = helper.tensor_dtype_to_np_dtype(network_input.elem_type or TensorProto.FLOAT)
    session = open_session(network.model, "the classifier")
    return run_session(session, names, np.zeros(network_input.shape, dtype), "the classifier")


_CHANNELS_FIRST_OPS = {
    "Conv", "ConvTranspose", "ConvInteger", "MaxPool", "AveragePool", "LpPool", "BatchNormalization", "LRN",
    "InstanceNormalization", "GroupNormalization", "DepthToSpace", "SpaceToDepth", "Resize", "Upsample",
}  # fmt: skip
