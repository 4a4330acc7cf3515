"""Cut points of a classifier: the tensors that everything it says of a picture goes through.

Only behind such a tensor is the rest of the network a function of it alone, so only its cells can be asked what each
of them says: `camrt.export.head.nonlinear`.
"""

from dataclasses import dataclass

import numpy as np
from onnx import NodeProto, TensorProto, helper

from camrt.export.graph import session as ort
from camrt.export.graph.graph import Array, Graph, attribute, reads
from camrt.export.graph.network_input import NetworkInput
from camrt.export.head.pooling import reduced_axes

SHAPE_READERS = ("Shape", "Size")
"""They read how large a tensor is, not what is in it."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A tensor that everything goes through."""

    tensor: str
    layout: str | None
    """A letter an axis: n batch, c channels, h rows, w columns, t tokens, ``?`` what is not known; None: no map."""
    shape: tuple[int, ...]
    """Its size for one picture; found by running the network."""
    floats: bool
    """Of integers zero need not stand for nothing."""

    @property
    def is_map(self) -> bool:
        """True for [1, C, h, w] of more than one cell."""
        return self.floats and self.layout == "nchw" and self.shape[2] * self.shape[3] > 1

    @property
    def is_row_of_tokens(self) -> bool:
        """True for [1, T, C] of more than one token."""
        return self.floats and self.layout is not None and len(self.shape) == 3 and self.shape[1] > 1


def find_cuts(graph: Graph, network_input: NetworkInput, logits: str) -> list[Cut]:
    """Return the cut points between the network's input and ``logits``, in the graph's order, that last included.

    Raises:
        ExportError: the network cannot be run.
    """
    names = [*_cut_tensors(graph, network_input.name, logits), logits]
    layouts = _layouts(graph, network_input)
    values = _run(graph, network_input, names)
    return [
        Cut(name, _guess(layouts.get(name), value.shape, network_input), value.shape, value.dtype.kind == "f")
        for name, value in zip(names, values, strict=True)
    ]


def depending(graph: Graph, source: str, *, on_size: bool) -> set[str]:
    """Return the tensors that depend on ``source``; ``on_size``: also those that depend on its size only."""
    found = {source}
    for node in graph.proto.node:
        if (on_size or node.op_type not in SHAPE_READERS) and not found.isdisjoint(reads(node)):
            found.update(name for name in node.output if name)
    return found


def _cut_tensors(graph: Graph, source: str, logits: str) -> list[str]:
    """Return the tensors after whose computation nothing else that came before is needed."""
    moving = depending(graph, source, on_size=False)
    nodes = [node for node in graph.ancestors(logits) if not moving.isdisjoint(node.output)]
    last_use = {name: index for index, node in enumerate(nodes) for name in reads(node)
                if name in moving and node.op_type not in SHAPE_READERS}  # fmt: skip
    alive, cuts = {source}, []
    for index, node in enumerate(nodes):
        alive |= {name for name in node.output if name in last_use}
        alive = {name for name in alive if last_use[name] > index}
        if len(alive) == 1 and (name := next(iter(alive))) in node.output:
            cuts.append(name)
    return cuts


def _layouts(graph: Graph, network_input: NetworkInput) -> dict[str, str]:
    """Follow what each axis means through the graph, as far as operators tell."""
    layouts: dict[str, str] = {network_input.name: network_input.layout}
    for node in graph.proto.node:
        known = [layouts[name] for name in node.input if name in layouts]
        found = _layout_after(graph, node, known)
        if found is not None:
            layouts[node.output[0]] = found
    return layouts


def _guess(layout: str | None, shape: tuple[int, ...], network_input: NetworkInput) -> str | None:
    """Take a map for one with channels first where operators do not tell, but its proportions are the picture's."""
    if layout == "n???" and len(shape) == 4 and shape[2] * network_input.width == shape[3] * network_input.height:
        return "nchw"
    return layout


def _layout_after(graph: Graph, node: NodeProto, known: list[str]) -> str | None:
    shape = graph.shape(node.output[0])
    rank = None if shape is None else len(shape)
    if node.op_type in _CHANNELS_FIRST:
        return "nchw" if rank in (4, None) else None
    if node.op_type == "Transpose":
        permutation = attribute(node, "perm")
        if tuple(permutation or ()) == (0, 3, 1, 2) and (not known or "?" in known[0]):
            return "nchw"  # convolutions want their channels first: that is what it is done for
        return "".join(known[0][axis] for axis in permutation) if known and permutation else None
    if node.op_type.startswith("Reduce"):
        axes, gone = reduced_axes(graph, node), "1" if attribute(node, "keepdims", 1) else ""
        return (
            "".join(gone if index in axes else axis for index, axis in enumerate(known[0])) if known and axes else None
        )
    if node.op_type in ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Gather"):
        return {3: "n??", 4: "n???"}.get(rank or 0)
    return next((layout for layout in known if rank in (len(layout), None)), {3: "n??", 4: "n???"}.get(rank or 0))


def _run(graph: Graph, network_input: NetworkInput, names: list[str]) -> list[Array]:
    watched = graph.copy()
    watched.prune([helper.make_empty_tensor_value_info(name) for name in names])
    dtype = helper.tensor_dtype_to_np_dtype(network_input.elem_type or TensorProto.FLOAT)
    session = ort.open_session(watched.model, "the classifier")
    return ort.run(session, names, np.zeros(network_input.shape, dtype), "the classifier")


_CHANNELS_FIRST = {
    "Conv", "ConvTranspose", "ConvInteger", "MaxPool", "AveragePool", "LpPool", "BatchNormalization", "LRN",
    "InstanceNormalization", "GroupNormalization", "DepthToSpace", "SpaceToDepth", "Resize", "Upsample",
}  # fmt: skip
