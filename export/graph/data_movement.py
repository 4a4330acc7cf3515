"""Steps of a graph that only move numbers about, and the walk back over them."""

from dataclasses import dataclass

import numpy as np

from camrt.export.graph.graph import Graph, attribute
from camrt.export.graph.read import FLOATS

TRANSPARENT = {"Identity", "Dropout", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose"}
"""Operators that keep every number of a picture, and its order as long as the map is 1x1."""


@dataclass(frozen=True, slots=True)
class Quantizer:
    """A QuantizeLinear with its DequantizeLinear: rounds to a grid and cuts at its ends."""

    step: float | None
    """None: it measures the range of what it rounds, each time, and divides it into 255 steps."""
    low: float
    high: float


def walk_back(graph: Graph, tensor: str, quantizers: list[Quantizer] | None = None) -> str:
    """Return the tensor that the steps before ``tensor`` only pass on; collect the quantizers on the way."""
    while (node := graph.producer(tensor)) is not None and node.domain in ("", "ai.onnx"):
        if node.op_type == "Cast" and attribute(node, "to") not in FLOATS:
            break
        if node.op_type == "DequantizeLinear":
            quantize = graph.producer(node.input[0])
            while quantize is not None and quantize.op_type in TRANSPARENT:  # they move integers as they move floats
                quantize = graph.producer(quantize.input[0])
            if quantize is None or quantize.op_type != "QuantizeLinear":
                break
            if quantizers is not None:
                quantizers.append(_quantizer(graph, quantize.input[1:]))
            tensor = quantize.input[0]
        elif node.op_type in TRANSPARENT or node.op_type == "Cast":
            tensor = node.input[0]
        else:
            break
    return tensor


def _quantizer(graph: Graph, parameters: list[str]) -> Quantizer:
    scale = graph.constant(parameters[0])
    zero = graph.constant(parameters[1]) if len(parameters) > 1 else np.zeros(1, np.uint8)
    if scale is None or zero is None or scale.size != 1 or zero.dtype.kind not in "iu":
        return Quantizer(0.0, -np.inf, np.inf)  # its rounding is not known, so none is granted to it
    step, offset, ends = float(scale.item()), int(zero.item()), np.iinfo(zero.dtype)
    return Quantizer(step, (int(ends.min) - offset) * step, (int(ends.max) - offset) * step)
