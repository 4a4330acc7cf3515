"""The border of a feature map that sees padding only."""

from onnx import NodeProto

from camrt.errors import HeadNotFound
from camrt.export.graph.data_movement import skip_data_movement
from camrt.export.graph.graph import Graph, attribute
from camrt.export.head.class_convolution import kernel_size
from camrt.export.head.diagnose import describe_node
from camrt.export.head.pointwise import ELEMENTWISE_OPS, PER_CHANNEL_OPS

_CELL_BY_CELL_OPS = ELEMENTWISE_OPS | PER_CHANNEL_OPS | {"Concat"}


def map_margin(graph: Graph, output: str, tensor: str) -> int | HeadNotFound:
    """Return how many cells on each side of a map see padding only.

    A cell sees padding only if the whole kernel of the convolution before it lies outside: on the left, cell x reads up
    to x * stride - pad + (kernel - 1) * dilation. Several convolutions may be added, multiplied or joined.

    Args:
        graph: the classifier.
        output: the output that the map leads to; for the message.
        tensor: the map.

    Returns: a number of cells; an error if it differs between the sides, or is not known for the next layer.
    """
    convolutions = _last_convolutions(graph, tensor)
    borders = [_border(graph, node) for node in convolutions]
    border: list[int] = [min(widths) for widths in zip(*borders, strict=True)]
    if not any(border):
        return 0
    node = convolutions[0]
    strides = attribute(node, "strides", [1, 1])
    if len(set(border)) > 1 or set(strides) != {1}:
        return HeadNotFound(
            f"output {output!r}: {describe_node(node)} pads its map by {sorted(set(attribute(node, 'pads')))} with "
            f"strides {sorted(set(strides))}, so the map does not match the image; pad all sides alike, or show an "
            "earlier map with --layer"
        )
    return border[0]


def _border(graph: Graph, convolution: NodeProto) -> list[int]:
    """Return the rows and columns of padding only: top, left, bottom, right."""
    kernel = kernel_size(graph, convolution)
    if kernel is None or attribute(convolution, "auto_pad", b"NOTSET") != b"NOTSET":
        return [0] * 4  # the padding of SAME is smaller than the kernel
    pads, dilations = attribute(convolution, "pads", [0] * 4), attribute(convolution, "dilations", [1, 1])
    return [max(0, pads[side] - (kernel[side % 2] - 1) * dilations[side % 2]) for side in range(4)]


def _last_convolutions(graph: Graph, tensor: str) -> list[NodeProto]:
    """Return the convolutions that a map consists of, cell by cell; none if it consists of anything else, too."""
    convolutions: list[NodeProto] = []
    waiting, seen = [tensor], set()
    while waiting:
        name = skip_data_movement(graph, waiting.pop())
        if name in seen:
            continue
        seen.add(name)
        node = graph.producer(name)
        if node is None:
            return []
        if node.op_type in ("Conv", "ConvInteger"):
            convolutions.append(node)
        elif node.op_type in _CELL_BY_CELL_OPS:
            waiting += [entry for entry in node.input if entry and not _is_same_everywhere(graph, entry)]
        else:
            return []
    return convolutions


def _is_same_everywhere(graph: Graph, tensor: str) -> bool:
    """Tell whether a tensor is a constant, or one number such as the scale of a dynamically quantized map."""
    shape = graph.shape(tensor)
    return graph.constant(tensor) is not None or (shape is not None and all(length == 1 for length in shape))
