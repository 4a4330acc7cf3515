"""Compute the last stage of a network on a finer grid, with the same weights (Yu et al. 2017, arXiv:1705.09914).

The last operators with stride 2 get stride 1. Later windows reach twice as far: dilation 2, padding doubled. So every
second cell of the finer maps, in both directions, sees what the cell of the coarse map saw, and has the same value.
"""

import math
from typing import Any, Final

import numpy as np
from onnx import NodeProto, helper

from camrt.errors import ExportError
from camrt.export.graph.graph import Graph, attribute
from camrt.export.head.diagnose import describe_node
from camrt.export.head.pooling import reduced_axes
from camrt.export.head.split_points import dependents
from camrt.export.resolution.tensor_sizes import Shape, TensorSizes

_POOLS: Final = ("MaxPool", "AveragePool")
_WINDOWED: Final = ("Conv", "ConvInteger", *_POOLS)
_GLOBAL_POOLS: Final = ("GlobalAveragePool", "GlobalMaxPool")
_REFUSED: Final = {
    "ConvTranspose": "enlarges the map",
    "DynamicQuantizeLinear": "takes its range from all cells of the map, so new cells change the others",
    "Resize": "resizes the map",
    "Upsample": "resizes the map",
    "SpaceToDepth": "moves cells to channels",
    "DepthToSpace": "moves channels to cells",
    **dict.fromkeys(("InstanceNormalization", "GroupNormalization"), "normalises over all cells of the map"),
    "LpPool": "is no pool whose window can be dilated",
}
_DILATED_MAX_POOL: Final = 10
_DILATED_AVERAGE_POOL: Final = 19
"""Opsets from which a pool has dilations."""


class LastStage:
    """The nodes from the last strided operators to the feature map."""

    def __init__(self, graph: Graph, sizes: TensorSizes, features: str) -> None:
        """Find the stage.

        Args:
            graph: the classifier.
            sizes: its shapes.
            features: the maps to make finer.

        Raises:
            ExportError: there is no such stage; the message names the node.
        """
        self.graph, self.sizes = graph, sizes
        self.strided: list[NodeProto] = []
        self.nodes: list[NodeProto] = []
        """The others, in the graph's order."""
        on_image = dependents(graph, graph.proto.input[0].name, by_size=False)
        visited: set[str] = set()
        inside: set[int] = set()
        pending = [features]
        while pending:
            tensor = pending.pop()
            node = graph.producer(tensor)
            if tensor in visited:
                continue
            visited.add(tensor)
            if node is None:
                raise ExportError(
                    f"the network has no last stage to make finer: no operator with stride 2 lies between its input "
                    f"and the feature map {features!r}. Leave --fine out"
                )
            if _strides(graph, node) is not None:
                self.strided += [node] if node not in self.strided else []
                continue
            inside.add(id(node))
            pending += [name for name in node.input if name in on_image]
        self.nodes = [node for node in graph.proto.node if id(node) in inside]
        self._check()

    def _check(self) -> None:
        for node in self.strided:
            strides = _strides(self.graph, node)
            if strides != [2, 2]:
                raise self._refusal(node, f"has stride {'x'.join(map(str, strides or ()))}; supported is 2x2")
            if node.op_type not in (*_WINDOWED, "Slice"):
                raise self._refusal(node, "has stride 2, and its windows cannot be dilated")
        for node in self.nodes:
            if node.op_type in _REFUSED:
                raise self._refusal(node, _REFUSED[node.op_type])
        ends = {self._map_size(node.output[0]) for node in self.strided}
        starts = {self._map_size(node.input[0]) for node in self.strided}
        if len(ends) != 1 or len(starts) != 1 or None in ends | starts:
            names = ", ".join(describe_node(node) for node in self.strided)
            raise ExportError(
                f"the last stage cannot be made finer: its operators with stride 2 do not all shrink the same map "
                f"({names}). Leave --fine out"
            )

    def _refusal(self, node: NodeProto, reason: str) -> ExportError:
        return ExportError(f"the last stage cannot be made finer: {describe_node(node)} {reason}. Leave --fine out")

    def _map_size(self, tensor: str) -> tuple[int, int] | None:
        shape = self.sizes.shape(tensor)
        return None if shape is None or len(shape) != 4 else (shape[2], shape[3])

    def refine(self) -> None:
        """Change strides, dilations and paddings in place; `camrt.export.resolution.follow_sizes` does the rest.

        Pools over the whole map inside the stage (squeeze and excitation) read every second cell: the coarse map.

        Raises:
            ExportError: a node of the stage cannot be changed.
        """
        targets = self._target_size()
        for node in self.strided:
            if node.op_type == "Slice":
                self._take_every_cell(node)
            else:
                _set(node, "strides", [1, 1])
                self._pad_to(node, targets)
        fine = {name for node in self.strided for name in node.output}
        for node in self.nodes:
            if fine.isdisjoint(node.input):
                continue
            if self._is_global_pool(node):
                self._read_every_second_cell(node)
                continue
            fine.update(node.output)
            if node.op_type in _WINDOWED:
                self._dilate(node)
            elif node.op_type == "Pad":
                self._double_pad(node)
        self.graph.sort_topologically()

    def _target_size(self) -> tuple[int, int]:
        """Return the size of the finer map: at least that of every strided operator with stride 1."""
        sides = []
        for axis in (0, 1):
            lengths = []
            for node in self.strided:
                before, after = self._map_size(node.input[0]), self._map_size(node.output[0])
                assert before is not None  # checked
                assert after is not None
                if node.op_type == "Slice":
                    lengths.append(before[axis])
                    continue
                low, high, reach = self._window(node, axis)
                lengths.append(max(before[axis] + low + high - reach + 1, 2 * after[axis] - 1))
            sides.append(max(lengths))
        return sides[0], sides[1]

    def _window(self, node: NodeProto, axis: int) -> tuple[int, int, int]:
        """Return the padding before and after the map along an axis, and the length of the dilated window."""
        kernel = attribute(node, "kernel_shape") or (self.sizes.shape(node.input[1]) or ())[2:]
        before, after = self._map_size(node.input[0]), self._map_size(node.output[0])
        assert before is not None
        assert after is not None
        strides, dilations = attribute(node, "strides", [1, 1]), attribute(node, "dilations", [1, 1])
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        mode = attribute(node, "auto_pad", b"NOTSET")
        if mode in (b"SAME_UPPER", b"SAME_LOWER"):
            total = max((after[axis] - 1) * 2 + reach - before[axis], 0) if self._is_strided(node) else max(
                (after[axis] - 1) * strides[axis] + reach - before[axis], 0)  # fmt: skip
            small, large = total // 2, total - total // 2
            return (small, large, reach) if mode == b"SAME_UPPER" else (large, small, reach)
        pads = [0] * 4 if mode == b"VALID" else attribute(node, "pads", [0] * 4)
        return pads[axis], pads[axis + 2], reach

    def _is_strided(self, node: NodeProto) -> bool:
        return any(node is other for other in self.strided)

    def _pad_to(self, node: NodeProto, target: tuple[int, int]) -> None:
        """Pad the end of a map so that an operator with stride 1 gives the size ``target``."""
        before = self._map_size(node.input[0])
        assert before is not None
        begins, ends = [], []
        for axis in (0, 1):
            low, _, reach = self._window(node, axis)
            begins.append(low)
            ends.append(target[axis] - 1 + reach - before[axis] - low)
        _set_pads(node, [*begins, *ends])

    def _dilate(self, node: NodeProto) -> None:
        shape = self.sizes.shape(node.output[0])
        kernel = attribute(node, "kernel_shape") or (self.sizes.shape(node.input[1]) or ())[2:]
        if shape is None or len(kernel) != 2:
            raise self._refusal(node, f"has a window of {len(kernel)} axes")
        pads = [2 * self._window(node, axis)[end] for end in (0, 1) for axis in (0, 1)]
        if math.prod(kernel) == 1 and not any(pads):
            return
        dilations = [2 * step for step in attribute(node, "dilations", [1, 1])]
        if node.op_type == "AveragePool" and self.graph.opset < _DILATED_AVERAGE_POOL:
            self._average_by_convolution(node, shape[1], dilations, pads)
            return
        if node.op_type == "MaxPool" and self.graph.opset < _DILATED_MAX_POOL:
            raise self._refusal(node, f"cannot be dilated in opset {self.graph.opset}; convert the file to opset 13")
        _set(node, "dilations", dilations)
        _set_pads(node, pads)

    def _average_by_convolution(self, node: NodeProto, channels: int, dilations: list[int], pads: list[int]) -> None:
        """Make an average pool a convolution with equal weights; a pool has dilations from opset 19 on only."""
        kernel = list(attribute(node, "kernel_shape"))
        counts_padding = bool(attribute(node, "count_include_pad", 0)) or not any(pads)
        dtype = helper.tensor_dtype_to_np_dtype(self.graph.elem_type(node.input[0]) or 1)
        weights = np.full((channels, 1, *kernel), 1 / math.prod(kernel), dtype)
        options: dict[str, Any] = {"kernel_shape": kernel, "dilations": dilations, "pads": pads}
        source, result = node.input[0], node.output[0]
        node.op_type = "Conv"
        del node.attribute[:]
        entries = {**options, "group": channels}
        node.attribute.extend(helper.make_attribute(key, value) for key, value in entries.items())
        node.input.append(self.graph.add_initializer("average", weights))
        if counts_padding:
            return
        # The mean of the cells that are no padding: divide by their share, from a map of ones.
        node.output[0] = self.graph.unique_name("sum")
        first = self.graph.add_node("Slice", [source, *(
            self.graph.add_initializer("bound", np.array([value], np.int64)) for value in (0, 1, 1))])  # fmt: skip
        nothing = self.graph.add_initializer("nothing", np.zeros(1, dtype))
        one = self.graph.add_initializer("one", np.ones(1, dtype))
        ones = self.graph.add_node("Add", [self.graph.add_node("Mul", [first, nothing]), one])
        share_weights = self.graph.add_initializer("average", weights[:1])
        share = self.graph.add_node("Conv", [ones, share_weights], **options)
        self.graph.add_node("Div", [node.output[0], share], result)

    def _double_pad(self, node: NodeProto) -> None:
        shape = self.sizes.shape(node.input[0])
        pads = self.graph.constant(node.input[1]) if len(node.input) > 1 else attribute(node, "pads")
        if pads is None or shape is None or (len(node.input) > 3 and node.input[3]):
            raise self._refusal(node, "has padding that is not constant")
        doubled = np.array(pads, np.int64)
        grid = self._map_size(self.strided[0].output[0])
        rank = len(shape)
        row = next((axis for axis in (2, 1) if rank == 4 and shape[axis : axis + 2] == grid), None)
        if row is None and doubled.any():
            raise self._refusal(node, f"pads a tensor of {list(shape)}, which is not the map of the stage")
        for axis in (row, None if row is None else row + 1):
            if axis is not None:
                doubled[[axis, axis + rank]] *= 2
        if len(node.input) > 1:
            node.input[1] = self.graph.add_initializer("pads", doubled)
        else:
            _set(node, "pads", doubled.tolist())

    def _is_global_pool(self, node: NodeProto) -> bool:
        shape = self.sizes.shape(node.input[0]) if node.input else None
        if shape is None or len(shape) != 4:
            return False
        if node.op_type in _GLOBAL_POOLS:
            return True
        if node.op_type in _POOLS:
            result = self._map_size(node.output[0])
            return result == (1, 1) != self._map_size(node.input[0])
        return node.op_type.startswith("Reduce") and self._spatial_axes(shape, node) is not None

    def _spatial_axes(self, shape: Shape, node: NodeProto) -> tuple[int, int] | None:
        axes = reduced_axes(self.graph, node, 4)
        return next((pair for pair in ((2, 3), (1, 2)) if axes == set(pair)), None)

    def _read_every_second_cell(self, node: NodeProto) -> None:
        """Let a node read the cells that the coarse map has."""
        shape = self.sizes.shape(node.input[0])
        assert shape is not None
        axes = (self._spatial_axes(shape, node) if node.op_type.startswith("Reduce") else None) or (2, 3)
        values = ([0, 0], [np.iinfo(np.int64).max] * 2, list(axes), [2, 2])
        source = node.input[0]
        if self.graph.opset < 10:
            raise self._refusal(node, f"reads the whole map, and cannot skip cells in opset {self.graph.opset}")
        bounds = [self.graph.add_initializer("bound", np.array(value, np.int64)) for value in values]
        node.input[0] = self.graph.add_node("Slice", [source, *bounds])
        self.sizes.set_like(node.input[0], source)

    def _take_every_cell(self, node: NodeProto) -> None:
        """Give a Slice with step 2 along rows and columns step 1."""
        steps = np.array(self.graph.constant(node.input[4]), np.int64)
        steps[steps == 2] = 1
        node.input[4] = self.graph.add_initializer("steps", steps)


def _strides(graph: Graph, node: NodeProto) -> list[int] | None:
    """Return the strides of an operator that skips cells; None: it skips none."""
    if node.op_type == "Slice" and len(node.input) > 4 and node.input[4]:
        steps = graph.constant(node.input[4])
        strides = [] if steps is None else [int(step) for step in steps if abs(int(step)) > 1]
    else:
        strides = [int(step) for step in attribute(node, "strides", [])]
    return strides if any(step > 1 for step in strides) else None


def _set(node: NodeProto, name: str, value: Any) -> None:
    kept = [entry for entry in node.attribute if entry.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])


def _set_pads(node: NodeProto, pads: list[int]) -> None:
    for name, value in (("auto_pad", b"NOTSET"), ("ceil_mode", 0)):
        if attribute(node, name) is not None:
            _set(node, name, value)
    _set(node, "pads", pads)
