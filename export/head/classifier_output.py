"""An output of a classifier and the steps that end it: activation, rounding, data movement."""

from collections.abc import Sequence
from dataclasses import dataclass

from onnx import NodeProto

from camrt.errors import HeadNotFound
from camrt.export.graph.data_movement import QdqPair, skip_data_movement
from camrt.export.graph.graph import Graph, attribute
from camrt.export.graph.network_input import NetworkInput
from camrt.export.head.diagnose import describe_node, embedding, is_unit_vector, not_scores_of_an_image
from camrt.export.head.split_points import run_tensors
from camrt.model_file import Activation

_ACTIVATIONS: dict[str, Activation] = {"Softmax": "softmax", "LogSoftmax": "softmax", "Sigmoid": "sigmoid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierOutput:
    """An output of the graph and the steps that end it."""

    name: str
    """The tensor, [N, K] or [N, K, 1, 1]."""
    logits: str
    """The tensor before the activation and before any rounding of the output, [N, K] or [N, K, 1, 1]."""
    activation: Activation | None
    """The graph's own activation; None: the graph ends in logits."""
    is_log: bool
    """The output is the logarithm of the scores (LogSoftmax)."""
    is_quantized: bool
    """The graph rounds the output."""


def read_output(graph: Graph, network_input: NetworkInput, name: str) -> ClassifierOutput:
    """Read the last steps of an output. Raises: HeadNotFound."""
    shape = graph.shape(name)
    if shape is None:  # only a run shows it
        shape = run_tensors(graph, network_input, [name])[0].shape
    if not (len(shape) == 2 or (len(shape) == 4 and shape[2:] == (1, 1))):
        raise not_scores_of_an_image(name, shape_text(shape), len(shape))
    qdq_pairs: list[QdqPair] = []
    tensor = skip_data_movement(graph, name, qdq_pairs)
    node = graph.producer(tensor)
    if node is not None and is_unit_vector(graph, node):
        raise embedding(name, node)
    activation = None if node is None else _ACTIVATIONS.get(node.op_type)
    is_log = False
    if node is not None and activation is not None:
        _check_class_axis(graph, name, tensor, node)
        tensor = skip_data_movement(graph, node.input[0], qdq_pairs)
        is_log = node.op_type == "LogSoftmax"
    return ClassifierOutput(
        name=name, logits=tensor, activation=activation, is_log=is_log, is_quantized=bool(qdq_pairs)
    )


def _check_class_axis(graph: Graph, output: str, tensor: str, node: NodeProto) -> None:
    """Raise HeadNotFound if a softmax works along another axis than the classes."""
    if node.op_type == "Sigmoid":
        return
    axis = attribute(node, "axis", -1 if graph.opset >= 13 else 1)
    shape = graph.shape(tensor)
    if axis not in (1, 1 - (2 if shape is None else len(shape))):
        raise HeadNotFound(
            f"output {output!r}: {describe_node(node)} works along axis {axis}, and the classes are axis 1; export the "
            "classifier without it"
        )


def shape_text(shape: Sequence[int | None]) -> str:
    """Return a shape for messages; the batch is N, an unknown length a question mark."""
    return f"[{', '.join('N' if index == 0 else str(length or '?') for index, length in enumerate(shape))}]"
