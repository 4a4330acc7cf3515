"""Make what a graph fixes for one map size follow the size: targets of Reshapes, pools over the map, bounds, constants.

Each node is compared at both sizes, in the graph's order. A node whose inputs keep their shape is left as it is. A node
that is tied to the old size is rewritten for any size, or refused with the reason.
"""

import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from onnx import NodeProto, helper

from camrt.errors import ExportError
from camrt.export.graph.graph import Graph, attribute
from camrt.export.head.attention import has_attention
from camrt.export.head.diagnose import describe_node
from camrt.export.head.pooling import covers_map, reduced_axes
from camrt.export.head.split_points import dependents
from camrt.export.resolution.constants_on_maps import uniform_part
from camrt.export.resolution.new_constants import NewConstants
from camrt.export.resolution.reshape_target import Grid, InputAxes, Length, MapSide, follow_target
from camrt.export.resolution.tensor_sizes import Shape, SizeMismatch, TensorSizes

_ELEMENTWISE: Final = (
    "Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Sum", "Mean", "Where", "PRelu", "Mod", "Equal", "Greater", "Less",
    "GreaterOrEqual", "LessOrEqual", "And", "Or", "Xor",
)  # fmt: skip
_SUMS: Final = {"ReduceSum": 1.0, "ReduceL1": 1.0, "ReduceSumSquare": 1.0, "ReduceL2": 0.5}
"""Reductions that grow with the number of cells, and the power of it that they grow with."""
_GLOBAL: Final = {"AveragePool": "GlobalAveragePool", "MaxPool": "GlobalMaxPool"}
_END: Final = np.iinfo(np.int64).max
"""As the end of a Slice: the last cell."""
_NEAR: Final = 4
"""A bound counts as near an end of an axis up to this part of its length: 1/4."""


class SizeFollower:
    """Rewrites a graph, node by node, from the shapes at the old size to those at the new one."""

    def __init__(self, graph: Graph, old: TensorSizes, new: TensorSizes) -> None:
        """Prepare the rewriting.

        Args:
            graph: changed in place; its inferred shapes are those of the old size.
            old: all shapes at the old size.
            new: the input's shape at the new size; filled in on the way.
        """
        self.graph, self.old, self.new = graph, old, new
        self.changes: list[str] = []
        """One sentence for each kind of change."""
        self.grids: dict[Grid, Grid] = {}
        self._places: dict[Grid, tuple[str, int]] = {}
        """The last map of each old size: its tensor, and the axis of its rows."""
        self._ambiguous: set[Grid] = set()
        self._on_data = dependents(graph, graph.proto.input[0].name, by_size=False)
        self._constants = NewConstants(graph, new)

    def run(self) -> None:
        """Rewrite the graph. Raises: ExportError: a node cannot follow the size."""
        for node in list(self.graph.proto.node):
            rule = self._rules.get(node.op_type)
            if rule is not None and node.domain in ("", "ai.onnx"):
                rule(self, node)
            try:
                self.new.step(node)
            except SizeMismatch as error:
                raise self._mismatch(node, error) from error
            for name in node.output:
                self._remember(name)
        self.graph.sort_topologically()

    def refuse(self, node: NodeProto, reason: str) -> ExportError:
        """Return the error for a node that cannot follow the size."""
        return ExportError(f"the network keeps its size: {describe_node(node)} {reason}")

    def _changed(self, tensor: str) -> tuple[Shape, Shape] | None:
        """Return a tensor's old and new shape, if they differ."""
        old, new = self.old.shape(tensor), self.new.shape(tensor)
        return None if old is None or new is None or old == new or len(old) != len(new) else (old, new)

    def _remember(self, tensor: str) -> None:
        """Remember a map whose rows and columns follow the size."""
        shapes = self._changed(tensor)
        if shapes is None or len(shapes[0]) != 4:
            return
        old, new = shapes
        row = 2 if old[1] == new[1] else 1
        grid, new_grid = (old[row], old[row + 1]), (new[row], new[row + 1])
        if self.grids.setdefault(grid, new_grid) != new_grid:
            self._ambiguous.add(grid)
        self._places[grid] = (tensor, row)

    def _mismatch(self, node: NodeProto, error: SizeMismatch) -> ExportError:
        """Say why the inputs of a node do not fit each other at the new size."""
        constants = [name for name in node.input if name and name not in self._on_data]
        shapes = [self._changed(name) for name in node.input if name]
        changed = next((pair for pair in shapes if pair is not None), None)
        if node.op_type in ("Gemm", "MatMul") and constants and changed is not None:
            reason = (
                f"has weights for the cells of one map size: it reads {_text(changed[0])}, and {_text(changed[1])} at "
                "the new size. The map is flattened, not pooled, so the network was trained for this size only"
            )
        elif len(constants) < len(node.input) and node.op_type in (*_ELEMENTWISE, "Concat"):
            tensors = " and ".join(_text(self.new.shape(name)) for name in node.input)
            reason = f"joins tensors of different sizes at the new size, {tensors}. Try a multiple of 32 pixels"
        else:
            reason = f"does not fit the new size: {error}"
        return self.refuse(node, reason)

    def _reshape(self, node: NodeProto) -> None:
        shapes, after = self._changed(node.input[0]), self.old.shape(node.output[0])
        if shapes is None or after is None:
            return
        before, new = shapes
        grids = {grid: size for grid, size in self.grids.items() if grid not in self._ambiguous}
        lengths = follow_target(before, after, new, grids)
        if lengths is None:
            raise self.refuse(
                node,
                f"makes {_text(after)} of {_text(before)}, and its input is {_text(new)} at the new size: the shapes do "
                "not show which of its lengths follow",
            )
        allow_zero = [entry for entry in node.attribute if entry.name != "allowzero"]
        del node.attribute[:]
        node.attribute.extend(allow_zero)
        node.input[1] = self._target(node.input[0], lengths)

    def _target(self, data: str, lengths: Sequence[Length]) -> str:
        """Return the tensor of a Reshape's target: 0 keeps a length, -1 stands for one that is left."""
        parts: list[int | str] = []
        left = [index for index, length in enumerate(lengths) if not isinstance(length, int)
                and length != InputAxes((index,))]  # fmt: skip
        batch = (index for index in left if isinstance(entry := lengths[index], InputAxes) and 0 in entry.axes)
        free = next(batch, left[-1] if left else None)
        for index, length in enumerate(lengths):
            if isinstance(length, int):
                parts.append(length)
            elif index == free:
                parts.append(-1)
            elif isinstance(length, MapSide):
                tensor, row = self._places[length.grid]
                parts.append(self._constants.product(tensor, (row + length.side,)))
            else:
                parts.append(0 if length == InputAxes((index,)) else self._constants.product(data, length.axes))
        return self._constants.joined(parts)

    def _pool(self, node: NodeProto) -> None:
        shapes, result = self._changed(node.input[0]), self.old.shape(node.output[0])
        if shapes is None or result is None or set(result[2:]) != {1}:
            return
        kernel = attribute(node, "kernel_shape")
        if covers_map(self.graph, node) and len(node.output) == 1:
            node.op_type = _GLOBAL[node.op_type]
            del node.attribute[:]
            self.changes.append(
                f"The pool over the whole map of {_cells(shapes[0])} cells is a global pool now, for any size."
            )
        elif tuple(kernel) != (1,) * len(kernel):
            raise self.refuse(
                node,
                f"makes one cell of a map of {_cells(shapes[0])} by a window of {'x'.join(map(str, kernel))} that does "
                "not cover it exactly once, so no global pool can take its place",
            )

    def _convolution(self, node: NodeProto) -> None:
        shapes, result = self._changed(node.input[0]), self.old.shape(node.output[0])
        kernel = self.old.shape(node.input[1])
        if shapes is None or result is None or kernel is None or any(attribute(node, "pads", [0])):
            return
        if set(result[2:]) == {1} and math.prod(kernel[2:]) > 1 and kernel[2:] == shapes[0][2:]:
            raise self.refuse(
                node, f"has weights for each of the {_cells(shapes[0])} cells of a map, so it takes no other map size"
            )

    def _elementwise(self, node: NodeProto) -> None:
        """Shrink constants that repeat one number over the map; refuse those with a number for each cell."""
        outputs = [shapes for name in node.input if (shapes := self._changed(name)) is not None]
        if not outputs:
            return
        rank = max(len(old) for old, _ in outputs)
        axes = {axis - len(old) for old, new in outputs for axis in range(len(old)) if old[axis] != new[axis]}
        for index, name in enumerate(node.input):
            values = None if not name or name in self._on_data else self.graph.constant(name)
            tied = [] if values is None else [axis for axis in axes if -axis <= values.ndim and values.shape[axis] > 1]
            if values is None or not tied:
                continue
            part = uniform_part(values, tied)
            if part is None:
                is_position = has_attention(self.graph, list(self.graph.proto.node))
                kind = "a position embedding" if is_position else "a mask or a mean image"
                raise self.refuse(
                    node, f"applies a constant of {_text(values.shape)} with numbers for each place, {kind} of one size"
                )
            node.input[index] = self.graph.add_initializer("any_size", part)
        assert rank

    def _normalization(self, node: NodeProto) -> None:
        """Refuse a LayerNormalization over rows and columns: it has a weight for each cell."""
        shapes, scale = self._changed(node.input[0]), self.old.shape(node.input[1])
        if shapes is not None and scale is not None:
            old, new = shapes
            if any(old[-axis] != new[-axis] and scale[-axis] > 1 for axis in range(1, len(scale) + 1)):
                raise self.refuse(node, f"has weights of {_text(scale)}, one for each place of a map of one size")

    def _resize(self, node: NodeProto) -> None:
        """Let the sizes of a Resize be those of the earlier map that they are equal to."""
        if node.op_type != "Resize" or len(node.input) < 4 or not node.input[3]:
            return
        sizes, shape = self.graph.constant(node.input[3]), self.old.shape(node.output[0])
        if sizes is None or shape is None or len(shape) != 4 or attribute(node, "axes") is not None:
            return
        self._as_earlier_map(node, 3, shape)

    def _expand(self, node: NodeProto) -> None:
        shape = self.old.shape(node.output[0])
        if self.graph.constant(node.input[1]) is not None and shape is not None and len(shape) == 4:
            self._as_earlier_map(node, 1, shape)

    def _as_earlier_map(self, node: NodeProto, operand: int, shape: Shape) -> None:
        """Give an operand that holds the shape of an output the size of the earlier map of the same size."""
        for row in (2, 1):
            grid = (shape[row], shape[row + 1])
            if grid in self._ambiguous:
                raise self.refuse(node, f"makes a map of {grid[0]}x{grid[1]}, which several map sizes become")
            if grid in self.grids:
                tensor, source_row = self._places[grid]
                lengths: list[int | str] = [self._constants.product(node.input[0], (axis,)) for axis in range(4)]
                lengths[row : row + 2] = [self._constants.product(tensor, (source_row + side,)) for side in (0, 1)]
                node.input[operand] = self._constants.joined(lengths)
                return
        if self._changed(node.input[0]) is not None:
            raise self.refuse(node, f"makes {_text(shape)}, and no earlier map shows what it becomes at the new size")

    def _slice(self, node: NodeProto) -> None:
        shapes = self._changed(node.input[0])
        if shapes is None:
            return
        old, new = shapes
        names = ("starts", "ends", "axes", "steps")
        given = {name: self.graph.constant(node.input[index]) if index < len(node.input) and node.input[index] else
                 attribute(node, name) for index, name in enumerate(names, start=1)}  # fmt: skip
        if given["starts"] is None or given["ends"] is None:
            return  # computed from the size
        starts, ends = (np.array(given[name], np.int64) for name in ("starts", "ends"))
        axes = list(range(len(starts))) if given["axes"] is None else [int(axis) % len(old) for axis in given["axes"]]
        steps = [1] * len(starts) if given["steps"] is None else [int(step) for step in given["steps"]]
        for index, axis in enumerate(axes):
            if old[axis] != new[axis] and steps[index] > 0:
                starts[index] = self._bound(node, int(starts[index]), old[axis], is_end=False)
                ends[index] = self._bound(node, int(ends[index]), old[axis], is_end=True)
        if len(node.input) > 1:
            node.input[1], node.input[2] = (self.graph.add_initializer("bound", bound) for bound in (starts, ends))
            return
        for entry in node.attribute:
            if entry.name in ("starts", "ends"):
                entry.CopyFrom(helper.make_attribute(entry.name, (ends if entry.name == "ends" else starts).tolist()))

    def _bound(self, node: NodeProto, bound: int, length: int, *, is_end: bool) -> int:
        """Return a bound of a Slice, counted from the end of the axis that it is near to."""
        if bound < 0 or bound <= length // _NEAR:
            return bound
        if bound >= length:
            return _END if is_end else bound
        if length - bound <= length // _NEAR:
            return bound - length
        raise self.refuse(node, f"cuts an axis of {length} cells at cell {bound}; what to cut at another size is open")

    def _take(self, node: NodeProto) -> None:
        """Refuse a Gather of cells by their numbers, except of the first or the last one."""
        shapes = self._changed(node.input[0])
        indices = self.graph.constant(node.input[1])
        if shapes is None or indices is None:
            return
        old, new = shapes
        axis = attribute(node, "axis", 0)
        if old[axis] != new[axis] and not (indices.size == 1 and int(indices.reshape(-1)[0]) in (0, -1)):
            raise self.refuse(node, f"takes {indices.size} places of {old[axis]} by their numbers")

    def _split(self, node: NodeProto) -> None:
        shapes = self._changed(node.input[0])
        axis = attribute(node, "axis", 0)
        has_sizes = attribute(node, "split") is not None or (len(node.input) > 1 and bool(node.input[1]))
        if shapes is not None and has_sizes and shapes[0][axis] != shapes[1][axis]:
            raise self.refuse(node, f"splits an axis of {shapes[0][axis]} cells into parts of fixed sizes")

    def _sum(self, node: NodeProto) -> None:
        """Scale a sum over the cells as if there were as many as before, so that what follows sees the same range."""
        shapes = self._changed(node.input[0])
        axes = None if shapes is None else reduced_axes(self.graph, node, len(shapes[0]))
        if shapes is None or axes is None or self._divides_by_size(node) or self._is_weighted_mean(node):
            return
        old, new = shapes
        axes = {axis for axis in axes if old[axis] != new[axis]}
        if not axes:
            return
        count = self._constants.float_product(node.input[0], sorted(axes), self.graph.elem_type(node.input[0]))
        dtype = helper.tensor_dtype_to_np_dtype(self.graph.elem_type(node.input[0]) or 1)
        before = self.graph.add_initializer("cells", np.array(math.prod(old[axis] for axis in axes), dtype))
        factor = self._constants.node("Div", [before, count])
        if _SUMS[node.op_type] == 0.5:
            factor = self._constants.node("Sqrt", [factor])
        result, raw = node.output[0], self.graph.unique_name("sum")
        node.output[0] = raw
        self.old.set_like(raw, result)
        self.graph.add_node("Mul", [raw, factor], result)
        self.graph.reindex()
        self.new.step(node)
        self.new.step(self.graph.proto.node[-1])
        self.changes.append("A sum over the cells of a map is scaled to the old number of cells.")

    def _divides_by_size(self, node: NodeProto) -> bool:
        """Tell whether what follows a sum divides it by a number that is computed from the size."""
        for reader in self.graph.consumers(node.output[0]):
            others = [name for name in reader.input if name != node.output[0]]
            if reader.op_type in ("Div", "Mul") and any(
                name not in self._on_data and self.graph.constant(name) is None for name in others
            ):
                return True
        return False

    def _is_weighted_mean(self, node: NodeProto) -> bool:
        """Tell whether a sum is one of products with weights that add up to one (a Softmax over the cells)."""
        product = self.graph.producer(node.input[0])
        if product is None or product.op_type != "Mul":
            return False
        for name in product.input:
            source = self.graph.producer(name)
            while source is not None and source.op_type in ("Reshape", "Unsqueeze", "Transpose", "Squeeze", "Expand"):
                source = self.graph.producer(source.input[0])
            if source is not None and source.op_type == "Softmax":
                return True
        return False

    _rules: Final[dict[str, "Callable[[SizeFollower, NodeProto], None]"]] = {
        "Reshape": _reshape,
        **dict.fromkeys(_GLOBAL, _pool),
        "Conv": _convolution,
        **dict.fromkeys(_ELEMENTWISE, _elementwise),
        **dict.fromkeys(("LayerNormalization", "RMSNormalization"), _normalization),
        "Resize": _resize,
        "Expand": _expand,
        "Slice": _slice,
        "Gather": _take,
        "Split": _split,
        **dict.fromkeys(_SUMS, _sum),
    }


def _text(shape: Sequence[int] | None) -> str:
    return "a tensor of unknown size" if shape is None else f"[{', '.join(map(str, shape))}]"


def _cells(shape: Shape) -> str:
    return "x".join(map(str, shape[2:]))
