"""Operators that move numbers without changing them, and the way back over them."""

from dataclasses import dataclass

import numpy as np

from camrt.export.graph.graph import Graph, attribute
from camrt.export.graph.read import FLOATS

DATA_MOVEMENT_OPS = {"Identity", "Dropout", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose"}
"""They keep every number of an image, and on a 1x1 map the numbers' order too."""


@dataclass(frozen=True, slots=True)
class QdqPair:
    """A QuantizeLinear with its DequantizeLinear: it rounds to multiples of ``step`` and clips to [low, high]."""

    step: float | None
    """None: dynamic quantization, which divides the range of each batch into 255 steps."""
    low: float
    high: float


def skip_data_movement(graph: Graph, tensor: str, qdq_pairs: list[QdqPair] | None = None) -> str:
    """Return the tensor whose numbers the data-movement operators before ``tensor`` pass on.

    Args:
        graph: the classifier.
        tensor: where to start; the way goes backwards.
        qdq_pairs: collects the QDQ pairs on the way, the last one first; they are passed like data movement.
    """
    while (node := graph.producer(tensor)) is not None and node.domain in ("", "ai.onnx"):
        if node.op_type == "Cast" and attribute(node, "to") not in FLOATS:
            break
        if node.op_type == "DequantizeLinear":
            quantize = graph.producer(node.input[0])
            while quantize is not None and quantize.op_type in DATA_MOVEMENT_OPS:  # on integers, within the pair
                quantize = graph.producer(quantize.input[0])
            if quantize is None or quantize.op_type != "QuantizeLinear":
                break
            if qdq_pairs is not None:
                qdq_pairs.append(_qdq_pair(graph, quantize.input[1:]))
            tensor = quantize.input[0]
        elif node.op_type in DATA_MOVEMENT_OPS or node.op_type == "Cast":
            tensor = node.input[0]
        else:
            break
    return tensor


def _qdq_pair(graph: Graph, parameters: list[str]) -> QdqPair:
    """Return the pair that has these parameters: a scale, and perhaps a zero point."""
    scale = graph.constant(parameters[0])
    zero_point = graph.constant(parameters[1]) if len(parameters) > 1 else np.zeros(1, np.uint8)
    if scale is None or zero_point is None or scale.size != 1 or zero_point.dtype.kind not in "iu":
        return QdqPair(0.0, -np.inf, np.inf)  # its rounding is unknown, so the identity gets no tolerance for it
    step, offset, limits = float(scale.item()), int(zero_point.item()), np.iinfo(zero_point.dtype)
    return QdqPair(step, (int(limits.min) - offset) * step, (int(limits.max) - offset) * step)
