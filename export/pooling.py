"""The global average pool in the ways exporters write it."""

from onnx import NodeProto

from camrt.export.graph import Graph, attribute


def find_pooled(graph: Graph, tensor: str) -> str | None:
    """Return the [N, C, h, w] tensor of which ``tensor`` is the mean over h and w; None if it is no such mean."""
    node = graph.producer(tensor)
    if node is None or node.domain not in ("", "ai.onnx"):
        return None
    if node.op_type == "GlobalAveragePool" or (node.op_type == "AveragePool" and _covers_map(graph, node)):
        return str(node.input[0])
    if node.op_type == "ReduceMean":
        return _mean_input(graph, node)
    return None


def _mean_input(graph: Graph, node: NodeProto) -> str | None:
    """Return what a ReduceMean over the spatial axes averages; two of them, one axis each, are one mean too."""
    axes = mean_axes(graph, node)
    if axes == {2, 3}:
        return str(node.input[0])
    inner = graph.producer(node.input[0])
    if axes == {2} and inner is not None and inner.op_type == "ReduceMean" and mean_axes(graph, inner) == {3}:
        return str(inner.input[0])
    return None


def mean_axes(graph: Graph, node: NodeProto) -> set[int] | None:
    """Return the axes that a ReduceMean averages, counted from 0; None: not known before it runs."""
    axes = attribute(node, "axes")
    if len(node.input) > 1 and node.input[1]:
        axes = graph.constant(node.input[1])
        if axes is None:
            return None
    shape = graph.shape(node.input[0])
    rank = 4 if shape is None else len(shape)
    if axes is None:  # none given means all of them
        return set(range(rank))
    return {int(axis) % rank for axis in axes}


def _covers_map(graph: Graph, node: NodeProto) -> bool:
    shape = graph.shape(node.input[0])
    if any(attribute(node, "pads", [0])) or attribute(node, "auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        return False
    # Where the map's size is known only by running, the verification decides.
    return shape is None or None in shape[2:] or tuple(attribute(node, "kernel_shape")) == shape[2:]
