"""Tell whether a part of a network treats every cell of a map alike, so that one cell can be given to it as a map."""

from collections.abc import Sequence

from onnx import NodeProto

from camrt.export.graph.graph import Graph, attribute
from camrt.export.head.pooling import covers_map, reduced_axes
from camrt.export.head.split_points import SHAPE_READERS


class Walk:
    """Follows a map forward for as long as every cell of it is treated alike."""

    def __init__(self, graph: Graph, layout: str) -> None:
        self.graph = graph
        self.layouts: dict[str, str] = {}
        self.layout = layout
        self.dropped: set[str] = set()
        self.obstacle: str | None = None

    def reaches(self, nodes: Sequence[NodeProto], entry: str, logits: str) -> bool:
        """Tell whether all nodes do, and the cells are pooled before the logits."""
        self.layouts = {entry: self.layout}
        for node in nodes:
            known = [self.layouts[name] for name in node.input if name in self.layouts]
            if not known:
                continue  # behind the pool, or a size
            after = self._after(node, known)
            if after is None:
                self.obstacle = f"{node.op_type} node {node.name or node.output[0]!r} does not treat every cell alike"
                return False
            if set(after) & set("hwt"):
                self.layouts[node.output[0]] = after
        return logits not in self.layouts

    def _after(self, node: NodeProto, known: list[str]) -> str | None:
        """Return the layout of what a node makes of cells, "" where they are pooled; None: it mixes them."""
        layout, op_type = known[0], node.op_type
        spatial = {index for index, axis in enumerate(layout) if axis in "hwt"}
        if op_type in SHAPE_READERS:
            return ""
        if op_type in ("GlobalAveragePool", "GlobalMaxPool"):
            return "" if layout == "nchw" else None
        if op_type in ("AveragePool", "MaxPool"):
            return self._drop(node) if layout == "nchw" and covers_map(self.graph, node) else None
        if op_type in ("ReduceMean", "ReduceMax", "ReduceMin"):
            return self._reduced(node, layout, spatial)
        if op_type in ("Gather", "Slice"):
            return self._cut(node, layout)
        if op_type == "Transpose":
            permutation = attribute(node, "perm", list(range(len(layout)))[::-1])
            return "".join(layout[axis] for axis in permutation)
        if op_type in ("Unsqueeze", "Squeeze"):
            return self._with_other_axes(node, layout)
        if op_type == "Conv":
            kernel = self.graph.constant(node.input[1])
            plain = kernel is not None and set(kernel.shape[2:]) == {1} and not any(attribute(node, "pads", [0]))
            return layout if layout == "nchw" and plain and set(attribute(node, "strides", [1])) == {1} else None
        if op_type in ("MatMul", "LayerNormalization", "Softmax", "LogSoftmax"):
            axis = attribute(node, "axis", -1) % len(layout)
            weighs = op_type != "MatMul" or self.graph.constant(node.input[1]) is not None
            return layout if layout[axis] == "c" and axis == len(layout) - 1 and weighs else None
        if op_type in _CHANNELS_ALIKE:
            return layout if layout[1:2] == "c" else None
        if op_type == "Concat":
            same = len(known) == len(node.input) and len(set(known)) == 1
            return layout if same and layout[attribute(node, "axis")] == "c" else None
        return self._broadcast(node, known) if op_type in _CELLS_ALIKE else None

    def _reduced(self, node: NodeProto, layout: str, spatial: set[int]) -> str | None:
        axes = reduced_axes(self.graph, node)
        single = {index for index, axis in enumerate(layout) if axis == "1"}
        if axes is None or 0 in axes or (axes & spatial and axes - spatial - single):
            return None
        if axes >= spatial:
            return ""
        gone = "1" if attribute(node, "keepdims", 1) else ""
        return "".join(gone if index in axes else axis for index, axis in enumerate(layout))

    def _with_other_axes(self, node: NodeProto, layout: str) -> str | None:
        """Return the layout with axes of length 1 more or less."""
        axes = attribute(node, "axes") if len(node.input) < 2 else self.graph.constant(node.input[1])
        if axes is None:
            return None
        letters, grown = list(layout), node.op_type == "Unsqueeze"
        rank = len(layout) + (len(axes) if grown else 0)
        for axis in sorted((int(axis) % rank for axis in axes), reverse=not grown):
            if grown:
                letters.insert(axis, "1")
            elif letters.pop(axis) in "hwt":
                return None
        return "".join(letters)

    def _cut(self, node: NodeProto, layout: str) -> str | None:
        """Tokens: the head may read the first, or leave some out before it takes their mean."""
        if layout != "ntc":
            return None
        if node.op_type == "Gather":
            index = self.graph.constant(node.input[1])
            first = index is not None and index.size == 1 and int(index.reshape(-1)[0]) == 0
            return "" if first and attribute(node, "axis", 0) == 1 else None
        bounds = [self.graph.constant(name) for name in node.input[1:4]]
        if len(bounds) < 3 or any(bound is None or bound.size != 1 for bound in bounds):
            return None
        starts, ends, axes = (int(bound.reshape(-1)[0]) for bound in bounds if bound is not None)
        if axes != 1:
            return None
        self._drop(node)
        return "" if (starts, ends) == (0, 1) else layout

    def _drop(self, node: NodeProto) -> str:
        self.dropped.add(node.output[0])
        return ""

    def _broadcast(self, node: NodeProto, known: list[str]) -> str | None:
        """Return the layout of what an elementwise operator gives; None where an operand differs from cell to cell."""
        layout = "".join(next((axis for axis in axes if axis != "1"), "1") for axes in zip(*known, strict=False))
        if any(
            len(other) != len(layout) or set(map("".join, zip(other, layout, strict=True))) - _SAME for other in known
        ):
            return None
        for name in node.input:
            value = self.graph.constant(name) if name and name not in self.layouts else None
            spread = () if value is None else zip(layout[::-1], value.shape[::-1], strict=False)
            if any(axis in "hwt" and length != 1 for axis, length in spread):
                return None
        return layout


_SAME = {axis + axis for axis in "nchwt1"} | {"1" + axis for axis in "chwt"}
_CHANNELS_ALIKE = {"BatchNormalization", "PRelu"}
_CELLS_ALIKE = {
    "Identity", "Dropout", "Cast", "Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Sigmoid", "HardSigmoid", "HardSwish",
    "Swish", "Mish", "Gelu", "Softplus", "Softsign", "Tanh", "Erf", "Exp", "Log", "Sqrt", "Reciprocal", "Abs", "Neg",
    "Clip", "Pow", "Add", "Sub", "Mul", "Div", "Min", "Max", "Where", "Sign", "QuantizeLinear", "DequantizeLinear",
}  # fmt: skip
