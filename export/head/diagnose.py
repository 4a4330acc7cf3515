"""Explain why a classifier has no exact head: the node, what it computes, what to do about it."""

from onnx import NodeProto

from camrt.errors import HeadNotFound
from camrt.export.graph.graph import Graph, attribute
from camrt.export.head.attention import has_attention
from camrt.export.head.pooling import reduced_axes

TO_GAP_CNN = (
    "camrt.export.to_gap_cnn in Python replaces everything after the last convolution by a global average pool and one "
    "linear layer, to be trained on your data"
)
OPS_WITHOUT_SCORES = ("ArgMax", "TopK", "NonMaxSuppression")
"""Operators that give class numbers or boxes."""
INTEGER_OPS = ("QLinear", "QGemm", "ConvInteger", "MatMulInteger")
"""Beginnings of the names of integer operators."""


def describe_node(node: NodeProto | None) -> str:
    """Return a node's operator and name."""
    if node is None:
        return "the graph's input"
    name = node.name or (node.output[0] if node.output else "")
    return f"{node.op_type} node {name!r}"


def not_scores_of_an_image(output: str, shape: str, rank: int) -> HeadNotFound:
    """Return the error for an output that does not hold one row of scores for each image.

    Args:
        output: the output.
        shape: its shape in words.
        rank: number of its axes.
    """
    kinds = {
        3: "several rows for each image, like detectors and sequence models",
        4: "scores for each pixel or cell, like segmentation networks",
    }
    return HeadNotFound(
        f"output {output!r} has shape {shape}: it gives {kinds.get(rank, 'no row of scores for each image')}. A class "
        "activation map explains a score of the whole image, so camrt needs an output [N, K]; if the network has one, "
        "choose it with --output"
    )


def is_unit_vector(graph: Graph, node: NodeProto | None) -> bool:
    """Tell whether a node divides numbers by their Euclidean length, as networks that give embeddings end."""
    if node is None or node.op_type != "Div":
        return node is not None and node.op_type == "LpNormalization"
    pending, operators, reached = [node.input[1]], set(), set()
    for tensor in pending:  # grows during the loop
        producer = graph.producer(tensor)
        if tensor == node.input[0] or producer is None:
            reached.add(tensor)
            continue
        operators.add(producer.op_type)
        pending.extend(name for name in producer.input if name and name not in pending)
    squares = operators & {"ReduceSum", "ReduceSumSquare"} and operators & {"Sqrt", "Pow"}
    return node.input[0] in reached and bool("ReduceL2" in operators or squares)


def embedding(output: str, node: NodeProto) -> HeadNotFound:
    """Return the error for an output that is a vector of length 1."""
    return HeadNotFound(
        f"output {output!r}: {describe_node(node)} gives a vector of length 1, an embedding, as for faces. Its numbers "
        "are no scores of classes. camrt needs an output [N, K] with one score a class; export the network with its "
        "classifier"
    )


def no_pool_before_layer(graph: Graph, output: str, logits: str, layer_input: str) -> HeadNotFound:
    """Return the error for a linear layer whose input is no pooled map.

    Args:
        graph: the classifier.
        output: its output.
        logits: the output of the linear layer.
        layer_input: the tensor that should be the pooled map.
    """
    node, layer = graph.producer(layer_input), graph.producer(logits)
    start = f"output {output!r}: the linear layer {describe_node(layer)} gets its input from {describe_node(node)}"
    if has_attention(graph, graph.ancestors(output)):
        return HeadNotFound(
            f"{start}; the network works on tokens (attention), so no map of a convolution is pooled. camrt explains "
            "heads that read one token or the mean of all. A head that pools the tokens by attention gives each image "
            "weights of its own; camrt would need these weights beside the tokens, and does not read them"
        )
    if (wrong_pool := _wrong_pool(graph, node)) is not None:
        return HeadNotFound(f"{start}; {wrong_pool}. {TO_GAP_CNN}")
    hidden_layer = _hidden_layer(graph, layer_input)
    if hidden_layer is not None:
        return HeadNotFound(
            f"{start}, after another fully connected layer, {describe_node(hidden_layer)}: with a hidden layer the "
            f"weights of the last one do not belong to the maps. {TO_GAP_CNN}"
        )
    if node is not None and node.op_type in ("Conv", "MaxPool", "Relu", "Clip", "AveragePool", "Concat", "Add"):
        return HeadNotFound(
            f"{start}: the map is flattened, not averaged, so there is no global average pool. {TO_GAP_CNN}"
        )
    return HeadNotFound(
        f"{start}; only operators that move numbers (Flatten, Reshape, Dropout ...) may come between the global "
        f"average pool and the linear layer. {TO_GAP_CNN}"
    )


def no_layer_or_pool(graph: Graph, output: str, tensor: str) -> HeadNotFound:
    """Return the error for an output that comes neither from a linear layer nor from a global average pool."""
    node = graph.producer(tensor)
    start = f"output {output!r} comes from {describe_node(node)}"
    if node is not None and node.op_type in OPS_WITHOUT_SCORES:
        return HeadNotFound(
            f"{start}: it gives class numbers or boxes, and the scores are gone; export the classifier with its scores "
            "as output"
        )
    if node is not None and node.op_type.startswith(INTEGER_OPS):
        return HeadNotFound(
            f"{start}: camrt does not read this operator of the QOperator format; quantize in the QDQ format "
            "(QuantFormat.QDQ)"
        )
    if node is not None and node.op_type in ("MatMul", "Gemm", "Conv"):
        return HeadNotFound(
            f"{start}, whose weights are not constants or not those of one linear layer; export the network in "
            "inference mode with its weights inside"
        )
    if (wrong_pool := _wrong_pool(graph, node)) is not None:
        return HeadNotFound(f"{start}; {wrong_pool}. {TO_GAP_CNN}")
    return HeadNotFound(
        f"{start}; a class activation map needs a linear layer on a global average pool, or that pool alone on one map "
        f"a class. {TO_GAP_CNN}"
    )


def no_convolution_before_pool(graph: Graph, output: str, pooled: str) -> HeadNotFound:
    """Return the error for an output that is a global average pool, but of no 1x1 convolution's maps."""
    return HeadNotFound(
        f"output {output!r} is the global average pool of the output of {describe_node(graph.producer(pooled))}: "
        "without a linear layer, a 1x1 convolution with one map a class must come before the pool. If this network "
        "only gives features, export it with its classifier"
    )


def _wrong_pool(graph: Graph, node: NodeProto | None) -> str | None:
    """Say why a pool is no global average pool; None: the node is no pool."""
    if node is not None and node.op_type == "ReduceMean":
        axes = reduced_axes(graph, node)
        axes_text = "axes that are not constant" if axes is None else f"axes {sorted(axes)}"
        return f"it averages over {axes_text}, not over 2 and 3, the rows and columns of a channels-first map"
    if node is not None and node.op_type == "AveragePool":
        kernel, shape = attribute(node, "kernel_shape"), graph.shape(node.input[0])
        window = "x".join(map(str, kernel))
        size = "unknown size" if shape is None else "x".join(str(length or "?") for length in shape[2:])
        return f"its kernel of {window} does not cover the map of {size} exactly once, so it is no global average pool"
    return None


def _hidden_layer(graph: Graph, tensor: str) -> NodeProto | None:
    """Return the nearest fully connected layer before ``tensor`` with no pool in between."""
    pending = [tensor]
    for name in pending:  # grows during the loop: nearest first
        node = graph.producer(name)
        if node is None:
            continue
        if node.op_type in ("Gemm", "MatMul"):
            return node
        if node.op_type == "Conv" and (shape := graph.shape(node.output[0])) is not None and shape[2:] == (1, 1):
            return node
        if node.op_type not in ("Conv", "MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean"):
            pending.extend(entry for entry in node.input if entry and entry not in pending)
    return None
