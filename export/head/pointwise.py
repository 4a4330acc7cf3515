"""Check that part of a network treats every cell of a map alike, so that it accepts a map of one cell too."""

from collections.abc import Sequence

from onnx import NodeProto

from camrt.export.graph.graph import Graph, attribute
from camrt.export.head.pooling import covers_map, reduced_axes
from camrt.export.head.split_points import SHAPE_OPS


class PointwiseTrace:
    """Follows a map forward for as long as the operators treat every cell alike.

    Layouts are strings with a letter for each axis: n batch, c channels, h rows, w columns, t tokens, 1 length one.
    """

    def __init__(self, graph: Graph, layout: str) -> None:
        self.graph = graph
        self.layout = layout
        """Of the map at the start."""
        self.layouts: dict[str, str] = {}
        """Of every tensor that still has cells."""
        self.skipped_outputs: set[str] = set()
        """Outputs of nodes that a map of one cell skips."""
        self.obstacle: str | None = None
        """The node that does not treat every cell alike, in words."""

    def reaches_logits(self, nodes: Sequence[NodeProto], feature_map: str, logits: str) -> bool:
        """Tell whether all nodes treat every cell alike, and pool the cells before the logits."""
        self.layouts = {feature_map: self.layout}
        for node in nodes:
            input_layouts = [self.layouts[name] for name in node.input if name in self.layouts]
            if not input_layouts:
                continue  # it reads pooled numbers, or a size
            layout = self._layout_after(node, input_layouts)
            if layout is None:
                self.obstacle = f"{node.op_type} node {node.name or node.output[0]!r} does not treat every cell alike"
                return False
            if set(layout) & set("hwt"):
                self.layouts[node.output[0]] = layout
        return logits not in self.layouts

    def _layout_after(self, node: NodeProto, input_layouts: list[str]) -> str | None:
        """Return the layout of a node's output, "" where it pools the cells; None: it mixes them."""
        layout, op_type = input_layouts[0], node.op_type
        if op_type in SHAPE_OPS:
            return ""
        if op_type in ("GlobalAveragePool", "GlobalMaxPool"):
            return "" if layout == "nchw" else None
        if op_type in ("AveragePool", "MaxPool"):
            return self._skip(node) if layout == "nchw" and covers_map(self.graph, node) else None
        if op_type in ("ReduceMean", "ReduceMax", "ReduceMin"):
            return self._reduce(node, layout)
        if op_type in ("Gather", "Slice"):
            return self._select_tokens(node, layout)
        if op_type == "Transpose":
            permutation = attribute(node, "perm", list(range(len(layout)))[::-1])
            return "".join(layout[axis] for axis in permutation)
        if op_type in ("Unsqueeze", "Squeeze"):
            return self._squeeze(node, layout)
        if op_type == "Conv":
            kernel = self.graph.constant(node.input[1])
            plain = kernel is not None and set(kernel.shape[2:]) == {1} and not any(attribute(node, "pads", [0]))
            return layout if layout == "nchw" and plain and set(attribute(node, "strides", [1])) == {1} else None
        if op_type in ("MatMul", "LayerNormalization", "Softmax", "LogSoftmax"):
            axis = attribute(node, "axis", -1) % len(layout)
            constant = op_type != "MatMul" or self.graph.constant(node.input[1]) is not None
            return layout if layout[axis] == "c" and axis == len(layout) - 1 and constant else None
        if op_type in PER_CHANNEL_OPS:
            return layout if layout[1:2] == "c" else None
        if op_type == "Concat":
            same = len(input_layouts) == len(node.input) and len(set(input_layouts)) == 1
            return layout if same and layout[attribute(node, "axis")] == "c" else None
        return self._broadcast(node, input_layouts) if op_type in ELEMENTWISE_OPS else None

    def _reduce(self, node: NodeProto, layout: str) -> str | None:
        axes = reduced_axes(self.graph, node)
        spatial = {index for index, axis in enumerate(layout) if axis in "hwt"}
        single = {index for index, axis in enumerate(layout) if axis == "1"}
        if axes is None or 0 in axes or (axes & spatial and axes - spatial - single):
            return None
        if axes >= spatial:
            return ""
        reduced = "1" if attribute(node, "keepdims", 1) else ""
        return "".join(reduced if index in axes else axis for index, axis in enumerate(layout))

    def _squeeze(self, node: NodeProto, layout: str) -> str | None:
        """Return the layout after a Squeeze or Unsqueeze."""
        axes = attribute(node, "axes") if len(node.input) < 2 else self.graph.constant(node.input[1])
        if axes is None:
            return None
        letters, inserts = list(layout), node.op_type == "Unsqueeze"
        rank = len(layout) + (len(axes) if inserts else 0)
        for axis in sorted((int(axis) % rank for axis in axes), reverse=not inserts):
            if inserts:
                letters.insert(axis, "1")
            elif letters.pop(axis) in "hwt":
                return None
        return "".join(letters)

    def _select_tokens(self, node: NodeProto, layout: str) -> str | None:
        """Return the layout after a Gather or Slice: a head may read the first token, or drop some before the mean."""
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
        self._skip(node)
        return "" if (starts, ends) == (0, 1) else layout

    def _skip(self, node: NodeProto) -> str:
        self.skipped_outputs.add(node.output[0])
        return ""

    def _broadcast(self, node: NodeProto, input_layouts: list[str]) -> str | None:
        """Return the layout after an elementwise operator; None where an operand differs from cell to cell."""
        layout = "".join(
            next((axis for axis in axes if axis != "1"), "1") for axes in zip(*input_layouts, strict=False)
        )
        for other in input_layouts:
            if len(other) != len(layout) or set(map("".join, zip(other, layout, strict=True))) - _COMPATIBLE_AXES:
                return None
        for name in node.input:
            value = self.graph.constant(name) if name and name not in self.layouts else None
            lengths = () if value is None else zip(layout[::-1], value.shape[::-1], strict=False)
            if any(axis in "hwt" and length != 1 for axis, length in lengths):
                return None
        return layout


_COMPATIBLE_AXES = {axis + axis for axis in "nchwt1"} | {"1" + axis for axis in "chwt"}
PER_CHANNEL_OPS = {"BatchNormalization", "PRelu"}
ELEMENTWISE_OPS = {
    "Identity", "Dropout", "Cast", "Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Sigmoid", "HardSigmoid", "HardSwish",
    "Swish", "Mish", "Gelu", "Softplus", "Softsign", "Tanh", "Erf", "Exp", "Log", "Sqrt", "Reciprocal", "Abs", "Neg",
    "Clip", "Pow", "Add", "Sub", "Mul", "Div", "Min", "Max", "Where", "Sign", "QuantizeLinear", "DequantizeLinear",
}  # fmt: skip
