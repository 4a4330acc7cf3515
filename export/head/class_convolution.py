"""The convolution that gives one map a class, before a global average pool."""

from onnx import NodeProto

from camrt.errors import HeadNotFound
from camrt.export.graph.data_movement import skip_data_movement
from camrt.export.graph.graph import Graph, attribute
from camrt.export.head.diagnose import describe_node
from camrt.model_file import Activation

_ELEMENTWISE_OPS = {"Relu", "Cast", "Add", "Mul", "BatchNormalization"}
"""They may come between a convolution and the pool."""


def has_one_map_a_class(graph: Graph, activation: Activation | None, maps: str, convolution: NodeProto | None) -> bool:
    """Tell whether the channels of pooled maps are classes, not the features of a network without its last layer.

    They are if an activation of scores follows. Otherwise a 1x1 convolution decides, or a larger one with nothing
    after it: features go through an activation, or they are sums of two branches.
    """
    if activation is not None:
        return True
    kernel = None if convolution is None else _kernel_size(graph, convolution)
    if convolution is None or kernel is None:
        return False
    is_bare = skip_data_movement(graph, maps) == convolution.output[0]
    return set(kernel) == {1} or is_bare


def last_convolution(graph: Graph, tensor: str) -> NodeProto | None:
    """Return the convolution that computes a map, before elementwise operators."""
    while (node := graph.producer(skip_data_movement(graph, tensor))) is not None and node.op_type in _ELEMENTWISE_OPS:
        tensor = next((name for name in node.input if graph.constant(name) is None), "")
    return node


def _kernel_size(graph: Graph, node: NodeProto) -> tuple[int, ...] | None:
    weights = graph.constant(node.input[1]) if node.op_type in ("Conv", "ConvInteger") else None
    return None if weights is None else weights.shape[2:]


def map_margin(graph: Graph, output: str, convolution: NodeProto | None) -> int | HeadNotFound:
    """Return how many cells on each side of a convolution's map see padding only.

    A cell sees padding only if its whole kernel lies outside: on the left, cell x reads up to
    x * stride - pad + (kernel - 1) * dilation.
    """
    kernel = None if convolution is None else _kernel_size(graph, convolution)
    if convolution is None or kernel is None or attribute(convolution, "auto_pad", b"NOTSET") != b"NOTSET":
        return 0  # the padding of SAME is smaller than the kernel
    pads, strides = attribute(convolution, "pads", [0] * 4), attribute(convolution, "strides", [1, 1])
    dilations = attribute(convolution, "dilations", [1, 1])
    outside = [max(0, pads[side] - (kernel[side % 2] - 1) * dilations[side % 2]) for side in range(4)]
    if len(set(outside)) > 1 or (any(outside) and set(strides) != {1}):
        return HeadNotFound(
            f"output {output!r}: {describe_node(convolution)} pads its map by {sorted(set(pads))} with strides "
            f"{sorted(set(strides))}, so the map does not match the image; pad all sides alike, or show an earlier map "
            "with --layer"
        )
    return int(outside[0])
