"""A change of a graph's map sizes: the shapes before and after, and what is known about them."""

from collections.abc import Sequence

from onnx import NodeProto

from camrt.errors import ExportError
from camrt.export.graph.graph import Graph
from camrt.export.head.diagnose import describe_node
from camrt.export.head.split_points import dependents
from camrt.export.resolution.new_constants import NewConstants
from camrt.export.resolution.reshape_target import Grid
from camrt.export.resolution.tensor_sizes import Shape, TensorSizes


class SizeChange:
    """The shapes of a graph's tensors at the old and the new size, as far as its nodes have been followed."""

    def __init__(self, graph: Graph, old: TensorSizes, new: TensorSizes) -> None:
        """Begin with the input.

        Args:
            graph: changed in place; its inferred shapes are those of the old size.
            old: all shapes at the old size.
            new: the input's shape at the new size; filled in on the way.
        """
        self.graph, self.old, self.new = graph, old, new
        self.sentences: list[str] = []
        """One for each change of a node that a user may want to know."""
        self.grids: dict[Grid, Grid] = {}
        """The sizes of the maps so far, old to new."""
        self.places: dict[Grid, tuple[str, int]] = {}
        """The last map of each old size: its tensor, and the axis of its rows."""
        self.ambiguous: set[Grid] = set()
        """Old sizes that become several new ones."""
        self.on_data = dependents(graph, graph.proto.input[0].name, by_size=False)
        """Tensors that depend on the image."""
        self.constants = NewConstants(graph, new)

    def changed(self, tensor: str) -> tuple[Shape, Shape] | None:
        """Return a tensor's old and new shape, if they differ."""
        old, new = self.old.shape(tensor), self.new.shape(tensor)
        return None if old is None or new is None or old == new or len(old) != len(new) else (old, new)

    def remember(self, tensor: str) -> None:
        """Remember a map whose rows and columns follow the size."""
        shapes = self.changed(tensor)
        if shapes is None or len(shapes[0]) != 4:
            return
        old, new = shapes
        row = 2 if old[1] == new[1] else 1
        grid, new_grid = (old[row], old[row + 1]), (new[row], new[row + 1])
        if self.grids.setdefault(grid, new_grid) != new_grid:
            self.ambiguous.add(grid)
        self.places[grid] = (tensor, row)

    def refuse(self, node: NodeProto, reason: str) -> ExportError:
        """Return the error for a node that cannot follow the size."""
        return ExportError(f"the maps cannot have another size: {describe_node(node)} {reason}")


def shape_text(shape: Sequence[int] | None) -> str:
    """Return a shape in words."""
    return "a tensor of unknown size" if shape is None else f"[{', '.join(map(str, shape))}]"


def cells_text(shape: Shape) -> str:
    """Return the size of a map with channels first in words."""
    return "x".join(map(str, shape[2:]))
