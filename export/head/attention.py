"""Detect attention."""

from collections.abc import Iterable

from onnx import NodeProto

from camrt.export.graph.graph import Graph
from camrt.export.head.split_points import dependents


def has_attention(graph: Graph, nodes: Iterable[NodeProto]) -> bool:
    """Tell whether nodes compute attention: they multiply two tensors that both depend on the image."""
    on_image = dependents(graph, graph.proto.input[0].name, by_size=False)
    return any(
        node.op_type in ("Attention", "MultiHeadAttention")
        or (node.op_type in ("MatMul", "Einsum") and on_image.issuperset(node.input))
        for node in nodes
    )
