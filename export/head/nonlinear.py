"""The tail of a classifier: all of it between a feature map and the logits, as one head that need not be linear.

Where the head is linear, its weights say what each cell of the map adds to a logit. Where it is not, it is asked:

    per_position  Between the map and the logits stand only steps that treat every cell alike, one global pool and what
                  follows it. The whole tail then takes a map of one cell; every cell is given to it as such a map.
                  For a linear head this is the class activation map plus its bias, exactly.
    tokens        The same for a row of tokens (a vision transformer) of which the head reads the first or the mean.
    masked        Anything else (a flattened map, further convolutions): the tail sees the map with all but one cell set
                  to zero (Recipro-CAM; Byun and Lee 2022, arXiv:2209.14074, section 3).

All of it happens in the graph, in one batch of as many pictures as there are cells: `camrt.export.head.class_maps`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from onnx import NodeProto

from camrt.export.graph.graph import Graph, has_subgraphs, reads
from camrt.export.graph.network_input import NetworkInput
from camrt.export.head.pointwise import Walk
from camrt.export.head.pooling import reduced_axes, token_grid
from camrt.export.head.split_points import SHAPE_READERS, Cut, depending

Mode = Literal["per_position", "tokens", "masked"]
MOST_MASKED_BYTES = 2**30
"""Of masked copies of a map; more is refused, for it would not fit into the memory of a small device."""
PREFIXES = range(6)
"""How many tokens that are no patches (class, distillation, registers) may stand before those that are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """A feature map and what makes logits of it."""

    mode: Mode
    entry: str
    """The map, [N, C, h, w]; of mode "tokens" [N, T, C]."""
    logits: str
    nodes: Sequence[NodeProto]
    entry_shape: tuple[int, ...]
    """Of one picture."""
    height: int
    """h of the class maps."""
    width: int
    classes: int
    rewired: frozenset[str]
    """Tensors from before the entry whose size is read behind it: the batch is what is meant."""
    dropped: frozenset[str]
    """Outputs of nodes that a map of one cell does not need: windows over the whole map, cuts along the tokens."""

    @property
    def cells(self) -> int:
        """Number of cells of the map."""
        return self.height * self.width


def find_tail(graph: Graph, network_input: NetworkInput, cut: Cut, logits: Cut) -> Tail | str:
    """Return the tail that begins at a cut point, or the reason why its cells cannot be asked."""
    nodes, rewired = _nodes_between(graph, network_input.name, cut.tensor, logits.tensor)
    if any(has_subgraphs(node) for node in nodes):
        return "a part of the network behind it runs under conditions (If, Loop)"
    if any(_mixes_pictures(graph, node) for node in nodes):
        return "the network mixes the pictures of a batch"
    if not any(_weighs(graph, node) for node in nodes):
        return "no layer with weights stands behind it"
    classes = math.prod(logits.shape[1:])
    if max(logits.shape[1:], default=0) != classes:
        return f"what comes out has shape {list(logits.shape)}"
    grid, layout = _grid(cut, network_input), "ntc" if cut.is_row_of_tokens else "nchw"
    walk = Walk(graph, layout)
    mode: Mode = "tokens" if cut.is_row_of_tokens else "per_position"
    if grid is None:
        return f"its {cut.shape[1]} tokens are no grid of patches"
    if not walk.reaches(nodes, cut.tensor, logits.tensor):
        if cut.is_row_of_tokens:
            return walk.obstacle or "it is not pooled"
        if _attends(graph, nodes, network_input.name):
            return "behind it the network works on tokens (attention), which a map with one cell means nothing to"
        mode, size = "masked", 4 * math.prod(grid) * math.prod(cut.shape[1:])
        if size > MOST_MASKED_BYTES:
            return (
                f"its {grid[0]}x{grid[1]} cells would be {math.prod(grid)} masked copies of {size / 2**30:.1f} GiB "
                "together; choose a smaller map, nearer the end"
            )
    return Tail(
        mode=mode,
        entry=cut.tensor,
        logits=logits.tensor,
        nodes=nodes,
        entry_shape=cut.shape,
        height=grid[0],
        width=grid[1],
        classes=classes,
        rewired=rewired,
        dropped=frozenset() if mode == "masked" else frozenset(walk.dropped),
    )


def _grid(cut: Cut, network_input: NetworkInput) -> tuple[int, int] | None:
    """Return (h, w) of a map, or of the patches among tokens."""
    if not cut.is_row_of_tokens:
        return cut.shape[2], cut.shape[3]
    tokens = cut.shape[1]
    return next((grid for prefix in PREFIXES if (grid := token_grid(tokens - prefix, network_input.size))), None)


def _nodes_between(graph: Graph, source: str, entry: str, logits: str) -> tuple[list[NodeProto], frozenset[str]]:
    """Return the nodes that make ``logits`` of ``entry``, and what they read the size of from before it."""
    behind = depending(graph, entry, on_size=False)
    on_input = depending(graph, source, on_size=True)
    wanted, rewired, todo = set(), set(), [logits]
    while todo:
        tensor = todo.pop()
        node = graph.producer(tensor)
        if tensor == entry or node is None or tensor not in on_input or id(node) in wanted:
            continue
        wanted.add(id(node))
        for name in reads(node):
            if node.op_type in SHAPE_READERS and name not in behind and name in on_input:
                rewired.add(name)
            else:
                todo.append(name)
    return [node for node in graph.proto.node if id(node) in wanted], frozenset(rewired)


def _mixes_pictures(graph: Graph, node: NodeProto) -> bool:
    return node.op_type.startswith("Reduce") and 0 in (reduced_axes(graph, node) or ())


def _weighs(graph: Graph, node: NodeProto) -> bool:
    return node.op_type in ("Gemm", "MatMul", "Conv", "MatMulInteger", "ConvInteger") and any(
        graph.constant(name) is not None for name in node.input[1:2]
    )


def _attends(graph: Graph, nodes: Sequence[NodeProto], source: str) -> bool:
    """Attention multiplies two tensors that both depend on the picture."""
    moving = depending(graph, source, on_size=False)
    return any(
        node.op_type in ("Attention", "MultiHeadAttention")
        or (node.op_type in ("MatMul", "Einsum") and moving.issuperset(node.input))
        for node in nodes
    )
