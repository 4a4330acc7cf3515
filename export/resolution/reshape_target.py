"""The target of a Reshape when its input has another size: which of its lengths follow the size, and how."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from camrt.export.resolution.tensor_sizes import Shape

Grid = tuple[int, int]
"""(h, w) of a map."""


@dataclass(frozen=True, slots=True)
class InputAxes:
    """The product of some lengths of the Reshape's input."""

    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MapSide:
    """A side of an earlier map."""

    grid: Grid
    """The map's size before the change."""
    side: int
    """0: rows, 1: columns."""


Length = int | InputAxes | MapSide


def follow_target(before: Shape, after: Shape, new: Shape, grids: Mapping[Grid, Grid]) -> list[Length] | None:
    """Return the lengths of a Reshape's output, none of which depends on the old size any more.

    Both shapes are cut into the smallest parts with equal products: [N, C, h, w] -> [N, 2, C/2, h*w] into N -> N,
    C -> 2, C/2, and h, w -> h*w. A part that keeps its size keeps its lengths.

    Args:
        before: shape of the input.
        after: shape of the output.
        new: the input's shape at the new size.
        grids: sizes of the maps so far, old to new.

    Returns: a length for each axis of the output; None: the shapes do not determine it.
    """
    groups = _equal_parts(before, after)
    if groups is None:
        return None
    lengths: list[Length] = list(after)
    for inputs, outputs in groups:
        if inputs == outputs == [0]:
            lengths[0] = InputAxes((0,))  # the batch
            continue
        old_sizes, new_sizes = [before[axis] for axis in inputs], [new[axis] for axis in inputs]
        if old_sizes == new_sizes and not (0 in inputs and 0 in outputs):
            continue
        part = _follow_part(inputs, {axis: after[axis] for axis in outputs}, before, new, grids)
        if part is None:
            return None
        for axis, length in part.items():
            lengths[axis] = length
    return lengths


def _follow_part(
    inputs: Sequence[int], outputs: Mapping[int, int], before: Shape, new: Shape, grids: Mapping[Grid, Grid]
) -> dict[int, Length] | None:
    long_outputs = [axis for axis, length in outputs.items() if length > 1]
    long_inputs = [axis for axis in inputs if before[axis] > 1]
    if len(long_outputs) == 1:
        return {long_outputs[0]: InputAxes(tuple(inputs))}
    if not long_outputs:
        return {} if math.prod(new[axis] for axis in inputs) == 1 else None
    if [before[axis] for axis in long_inputs] == [outputs[axis] for axis in long_outputs]:
        return {axis: InputAxes((source,)) for axis, source in zip(long_outputs, long_inputs, strict=True)}
    count = math.prod(new[axis] for axis in inputs)
    if count == math.prod(outputs.values()):
        return {}
    candidates: list[dict[int, Length]] = []
    for row, column in itertools.pairwise(long_outputs):
        grid = (outputs[row], outputs[column])
        rest = math.prod(length for axis, length in outputs.items() if axis not in (row, column))
        if grid in grids and rest * math.prod(grids[grid]) == count:
            candidates.append({row: MapSide(grid, 0), column: MapSide(grid, 1)})
    return candidates[0] if len(candidates) == 1 else None


def _equal_parts(before: Shape, after: Shape) -> list[tuple[list[int], list[int]]] | None:
    """Cut two shapes into the smallest parts with equal products; return the axes of each."""
    if 0 in before or math.prod(before) != math.prod(after):
        return None
    parts, first, second = [], 0, 0
    while first < len(before) or second < len(after):
        inputs, outputs = [first][: len(before) - first], [second][: len(after) - second]
        first, second = first + len(inputs), second + len(outputs)
        while (left := math.prod(before[axis] for axis in inputs)) != (
            right := math.prod(after[axis] for axis in outputs)
        ):
            if left < right:
                inputs.append(first)
                first += 1
            else:
                outputs.append(second)
                second += 1
        parts.append((inputs, outputs))
    return parts
