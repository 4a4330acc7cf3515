"""Make what a graph fixes for one map size follow the size: targets of Reshapes, pools over the map, bounds, constants.

Each node is compared at both sizes, in the graph's order. A node whose inputs keep their shape is left as it is. A node
that is tied to the old size is rewritten for any size, or refused with the reason.
"""

from collections.abc import Callable
from typing import Final

from onnx import NodeProto

from camrt.errors import ExportError
from camrt.export.graph.graph import Graph
from camrt.export.resolution.cell_rules import (
    GLOBAL_POOLS,
    SUMS,
    check_convolution,
    check_normalization,
    follow_elementwise,
    follow_pool,
    follow_sum,
)
from camrt.export.resolution.shape_rules import (
    check_gather,
    check_split,
    follow_expand,
    follow_reshape,
    follow_resize,
    follow_slice,
)
from camrt.export.resolution.size_change import SizeChange, shape_text
from camrt.export.resolution.tensor_sizes import SizeMismatchError, TensorSizes

_ELEMENTWISE: Final = (
    "Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Sum", "Mean", "Where", "PRelu", "Mod", "Equal", "Greater", "Less",
    "GreaterOrEqual", "LessOrEqual", "And", "Or", "Xor",
)  # fmt: skip


def follow_sizes(graph: Graph, old: TensorSizes, new: TensorSizes) -> tuple[str, ...]:
    """Rewrite a graph in place, so that it takes the new size.

    Args:
        graph: its inferred shapes are those of the old size.
        old: all shapes at the old size.
        new: the input's shape at the new size; filled in on the way.

    Returns: a sentence for each kind of change.

    Raises:
        ExportError: a node cannot follow the size.
    """
    change = SizeChange(graph, old, new)
    for node in list(graph.proto.node):
        rule = _RULES.get(node.op_type)
        if rule is not None and node.domain in ("", "ai.onnx"):
            rule(change, node)
        try:
            new.step(node)
        except SizeMismatchError as error:
            raise _mismatch(change, node, error) from error
        for name in node.output:
            change.remember(name)
    graph.sort_topologically()
    return tuple(dict.fromkeys(change.sentences))


def _mismatch(change: SizeChange, node: NodeProto, error: SizeMismatchError) -> ExportError:
    """Say why the inputs of a node do not fit each other at the new size."""
    constants = [name for name in node.input if name and name not in change.on_data]
    shapes = [change.changed(name) for name in node.input if name]
    changed = next((pair for pair in shapes if pair is not None), None)
    if node.op_type in ("Gemm", "MatMul") and constants and changed is not None:
        reason = (
            f"has weights for the cells of one map size: it reads {shape_text(changed[0])}, and "
            f"{shape_text(changed[1])} at the new size. The map is flattened, not pooled, so the network was trained "
            "for this size only"
        )
    elif node.op_type in (*_ELEMENTWISE, "Concat"):
        tensors = " and ".join(shape_text(change.new.shape(name)) for name in node.input)
        advice = "One of them is a constant of one size" if constants else "With --size, try a multiple of 32 pixels"
        reason = f"joins tensors of different sizes at the new size, {tensors}. {advice}"
    else:
        reason = f"does not fit the new size: {error}"
    return change.refuse(node, reason)


_RULES: Final[dict[str, Callable[[SizeChange, NodeProto], None]]] = {
    "Reshape": follow_reshape,
    **dict.fromkeys(GLOBAL_POOLS, follow_pool),
    **dict.fromkeys(("Conv", "ConvInteger"), check_convolution),
    **dict.fromkeys(_ELEMENTWISE, follow_elementwise),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), check_normalization),
    "Resize": follow_resize,
    "Expand": follow_expand,
    "Slice": follow_slice,
    "Gather": check_gather,
    "Split": check_split,
    **dict.fromkeys(SUMS, follow_sum),
}
