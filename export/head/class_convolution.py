"""The convolution that gives one map a class, before a global average pool."""

from onnx import NodeProto

from camrt.export.graph.data_movement import skip_data_movement
from camrt.export.graph.graph import Graph
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
    kernel = None if convolution is None else kernel_size(graph, convolution)
    if convolution is None or kernel is None:
        return False
    is_bare = skip_data_movement(graph, maps) == convolution.output[0]
    return set(kernel) == {1} or is_bare


def last_convolution(graph: Graph, tensor: str) -> NodeProto | None:
    """Return the convolution that computes a map, before elementwise operators."""
    while (node := graph.producer(skip_data_movement(graph, tensor))) is not None and node.op_type in _ELEMENTWISE_OPS:
        tensor = next((name for name in node.input if graph.constant(name) is None), "")
    return node


def kernel_size(graph: Graph, node: NodeProto) -> tuple[int, ...] | None:
    """Return the height and width of a convolution's kernel; None: it is none, or its weights are not constant."""
    weights = graph.constant(node.input[1]) if node.op_type in ("Conv", "ConvInteger") else None
    return None if weights is None else weights.shape[2:]
