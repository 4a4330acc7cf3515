"""Rules for nodes that hold shapes and bounds: Reshape, Resize, Expand, Slice, Gather, Split."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from onnx import NodeProto, helper

from camrt.export.graph.graph import attribute
from camrt.export.resolution.reshape_target import InputAxes, Length, MapSide, follow_target
from camrt.export.resolution.size_change import SizeChange, shape_text
from camrt.export.resolution.tensor_sizes import Shape

_END: Final = np.iinfo(np.int64).max
"""As the end of a Slice: the last cell."""
_NEAR: Final = 4
"""A bound counts as near an end of an axis up to this part of its length: 1/4."""


def follow_reshape(change: SizeChange, node: NodeProto) -> None:
    """Let the target of a Reshape follow the size. Raises: ExportError: the shapes do not determine it."""
    shapes, after = change.changed(node.input[0]), change.old.shape(node.output[0])
    if shapes is None or after is None:
        return
    before, new = shapes
    grids = {grid: size for grid, size in change.grids.items() if grid not in change.ambiguous}
    lengths = follow_target(before, after, new, grids)
    if lengths is None:
        raise change.refuse(
            node,
            f"makes {shape_text(after)} of {shape_text(before)}, and its input is {shape_text(new)} at the new size: "
            "the shapes do not show which of its lengths follow, as where a map is cut into windows or patches",
        )
    attributes = [entry for entry in node.attribute if entry.name != "allowzero"]  # then 0 would be no length
    del node.attribute[:]
    node.attribute.extend(attributes)
    node.input[1] = _target(change, node.input[0], lengths)


def _target(change: SizeChange, data: str, lengths: Sequence[Length]) -> str:
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
            tensor, row = change.places[length.grid]
            parts.append(change.constants.product(tensor, (row + length.side,)))
        else:
            parts.append(0 if length == InputAxes((index,)) else change.constants.product(data, length.axes))
    return change.constants.joined(parts)


def follow_resize(change: SizeChange, node: NodeProto) -> None:
    """Let the sizes of a Resize be those of the earlier map that they are equal to."""
    if node.op_type != "Resize" or len(node.input) < 4 or not node.input[3]:
        return
    sizes, shape = change.graph.constant(node.input[3]), change.old.shape(node.output[0])
    if sizes is None or shape is None or len(shape) != 4 or attribute(node, "axes") is not None:
        return
    _as_earlier_map(change, node, 3, shape)


def follow_expand(change: SizeChange, node: NodeProto) -> None:
    """Let the shape of an Expand be that of the earlier map that it is equal to."""
    shape = change.old.shape(node.output[0])
    if change.graph.constant(node.input[1]) is not None and shape is not None and len(shape) == 4:
        _as_earlier_map(change, node, 1, shape)


def _as_earlier_map(change: SizeChange, node: NodeProto, operand: int, shape: Shape) -> None:
    """Give an operand that holds the shape of an output the size of the earlier map of the same size."""
    for row in (2, 1):
        grid = (shape[row], shape[row + 1])
        if grid in change.ambiguous:
            raise change.refuse(node, f"makes a map of {grid[0]}x{grid[1]}, which several map sizes become")
        if grid in change.grids:
            tensor, source_row = change.places[grid]
            lengths: list[int | str] = [change.constants.product(node.input[0], (axis,)) for axis in range(4)]
            lengths[row : row + 2] = [change.constants.product(tensor, (source_row + side,)) for side in (0, 1)]
            node.input[operand] = change.constants.joined(lengths)
            return
    if change.changed(node.input[0]) is not None:
        raise change.refuse(
            node, f"makes {shape_text(shape)}, and no earlier map shows what it becomes at the new size"
        )


def follow_slice(change: SizeChange, node: NodeProto) -> None:
    """Count the bounds of a Slice from the end that they are near to. Raises: ExportError: one is near neither."""
    shapes = change.changed(node.input[0])
    if shapes is None:
        return
    old, new = shapes
    names = ("starts", "ends", "axes", "steps")
    given = {name: change.graph.constant(node.input[index]) if index < len(node.input) and node.input[index] else
             attribute(node, name) for index, name in enumerate(names, start=1)}  # fmt: skip
    if given["starts"] is None or given["ends"] is None:
        return  # computed from the size
    starts, ends = (np.array(given[name], np.int64) for name in ("starts", "ends"))
    axes = list(range(len(starts))) if given["axes"] is None else [int(axis) % len(old) for axis in given["axes"]]
    steps = [1] * len(starts) if given["steps"] is None else [int(step) for step in given["steps"]]
    for index, axis in enumerate(axes):
        if old[axis] != new[axis] and steps[index] > 0:
            starts[index] = _bound(change, node, int(starts[index]), old[axis], is_end=False)
            ends[index] = _bound(change, node, int(ends[index]), old[axis], is_end=True)
    if len(node.input) > 1:
        node.input[1], node.input[2] = (change.graph.add_initializer("bound", bound) for bound in (starts, ends))
        return
    for entry in node.attribute:
        if entry.name in ("starts", "ends"):
            entry.CopyFrom(helper.make_attribute(entry.name, (ends if entry.name == "ends" else starts).tolist()))


def _bound(change: SizeChange, node: NodeProto, bound: int, length: int, *, is_end: bool) -> int:
    """Return a bound of a Slice, counted from the end of the axis that it is near to."""
    if bound < 0 or bound <= length // _NEAR:
        return bound
    if bound >= length:
        return _END if is_end else bound
    if length - bound <= length // _NEAR:
        return bound - length
    raise change.refuse(node, f"cuts an axis of {length} cells at cell {bound}; what to cut at another size is open")


def check_gather(change: SizeChange, node: NodeProto) -> None:
    """Refuse a Gather of cells by their numbers, except of the first or the last one."""
    shapes = change.changed(node.input[0])
    indices = change.graph.constant(node.input[1])
    if shapes is None or indices is None:
        return
    old, new = shapes
    axis = attribute(node, "axis", 0)
    if old[axis] != new[axis] and not (indices.size == 1 and int(indices.reshape(-1)[0]) in (0, -1)):
        raise change.refuse(node, f"takes {indices.size} places of {old[axis]} by their numbers")


def check_split(change: SizeChange, node: NodeProto) -> None:
    """Raise ExportError for a Split of an axis that follows the size into parts of fixed sizes."""
    shapes = change.changed(node.input[0])
    axis = attribute(node, "axis", 0)
    has_sizes = attribute(node, "split") is not None or (len(node.input) > 1 and bool(node.input[1]))
    if shapes is not None and has_sizes and shapes[0][axis] != shapes[1][axis]:
        raise change.refuse(node, f"splits an axis of {shapes[0][axis]} cells into parts of fixed sizes")
