"""Say why a classifier has no class activation map: at which node, what was found there, what can be done."""

from onnx import NodeProto

from camrt.errors import HeadNotFound
from camrt.export.graph.graph import Graph, attribute
from camrt.export.head.pooling import reduced_axes

SURGERY = (
    "camrt.export.to_gap_cnn(module, num_classes) replaces everything after the last convolution by a global average "
    "pool and one linear layer, to be trained on your data"
)
NO_SCORES = ("ArgMax", "TopK", "NonMaxSuppression")
"""Operators that give class numbers or boxes."""
INTEGER_KERNELS = ("QLinear", "QGemm", "ConvInteger", "MatMulInteger")


def describe(node: NodeProto | None) -> str:
    """Return a node's operator and name."""
    if node is None:
        return "the graph's input"
    name = node.name or (node.output[0] if node.output else "")
    return f"{node.op_type} node {name!r}"


def refuse_linear(graph: Graph, output: str, logits: str, before: str) -> HeadNotFound:
    """The last layer is linear, but what it gets is not a pooled map."""
    node, linear = graph.producer(before), graph.producer(logits)
    start = f"output {graph.shown(output)!r}: the linear layer {describe(linear)} gets its input from {describe(node)}"
    if _is_transformer(graph, output):
        return HeadNotFound(
            f"{start}; the network works on tokens (attention), so there is no pooled map of a convolution to weigh. "
            "A class activation map needs a convolutional network with a global average pool"
        )
    if (wrong_pool := _wrong_pool(graph, node)) is not None:
        return HeadNotFound(f"{start}; {wrong_pool}. {SURGERY}")
    hidden = _hidden_layer(graph, before)
    if hidden is not None:
        return HeadNotFound(
            f"{start}, behind which stands another fully connected layer, {describe(hidden)}: with a hidden layer the "
            f"weights of the last one do not belong to the maps. {SURGERY}"
        )
    if node is not None and node.op_type in ("Conv", "MaxPool", "Relu", "Clip", "AveragePool", "Concat", "Add"):
        return HeadNotFound(
            f"{start}: the map is flattened, not averaged, so there is no global average pool. {SURGERY}"
        )
    return HeadNotFound(
        f"{start}; between the global average pool and the linear layer only steps that move numbers about may stand "
        f"(Flatten, Reshape, Dropout ...). {SURGERY}"
    )


def refuse_pool(graph: Graph, output: str, tensor: str) -> HeadNotFound:
    """The output comes neither from a linear layer nor from a global average pool."""
    node = graph.producer(tensor)
    start = f"output {graph.shown(output)!r} comes from {describe(node)}"
    if node is not None and node.op_type in NO_SCORES:
        return HeadNotFound(
            f"{start}: it gives class numbers or boxes, the scores are gone; export the classifier with its scores as "
            "output"
        )
    if node is not None and node.op_type.startswith(INTEGER_KERNELS):
        return HeadNotFound(
            f"{start}: operators of the QOperator format cannot be read; quantize in the QDQ format (QuantFormat.QDQ)"
        )
    if node is not None and node.op_type in ("MatMul", "Gemm", "Conv"):
        return HeadNotFound(
            f"{start}, whose weights are not constants or not those of one linear layer; export the network in "
            "inference mode with its weights inside"
        )
    if (wrong_pool := _wrong_pool(graph, node)) is not None:
        return HeadNotFound(f"{start}; {wrong_pool}. {SURGERY}")
    return HeadNotFound(
        f"{start}; a class activation map needs the output to be a linear layer on a global average pool, or that pool "
        f"itself over one map a class. {SURGERY}"
    )


def refuse_class_maps(graph: Graph, output: str, pooled: str) -> HeadNotFound:
    """The output is a global average pool, but not of a 1x1 convolution's maps."""
    return HeadNotFound(
        f"output {graph.shown(output)!r} is the global average pool of what {describe(graph.producer(pooled))} gives: "
        "without a linear layer, a 1x1 convolution with one map a class has to stand there. If this network only "
        "gives features, export it with its classifier"
    )


def _wrong_pool(graph: Graph, node: NodeProto | None) -> str | None:
    if node is not None and node.op_type == "ReduceMean":
        axes = reduced_axes(graph, node)
        found = "axes that are not constant" if axes is None else f"axes {sorted(axes)}"
        return f"it averages over {found}, not over 2 and 3, the rows and columns of a channels-first map"
    if node is not None and node.op_type == "AveragePool":
        kernel, shape = attribute(node, "kernel_shape"), graph.shape(node.input[0])
        covered = "x".join(map(str, kernel))
        size = "unknown size" if shape is None else "x".join(str(length or "?") for length in shape[2:])
        return f"its kernel of {covered} does not cover the map of {size} exactly once, so it is no global average pool"
    return None


def _is_transformer(graph: Graph, output: str) -> bool:
    """Attention multiplies two tensors that both depend on the picture and puts a Softmax between."""
    return any(
        node.op_type in ("Attention", "MultiHeadAttention")
        or (node.op_type == "MatMul" and all(graph.constant(name) is None for name in node.input))
        for node in graph.ancestors(output)
    )


def _hidden_layer(graph: Graph, tensor: str) -> NodeProto | None:
    """Return the nearest fully connected layer before ``tensor`` that no pool separates from it."""
    todo = [tensor]
    for name in todo:  # grows while it is walked: nearest first
        node = graph.producer(name)
        if node is None:
            continue
        if node.op_type in ("Gemm", "MatMul"):
            return node
        if node.op_type == "Conv" and (shape := graph.shape(node.output[0])) is not None and shape[2:] == (1, 1):
            return node
        if node.op_type not in ("Conv", "MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean"):
            todo.extend(entry for entry in node.input if entry and entry not in todo)
    return None
