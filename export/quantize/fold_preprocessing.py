"""Fold the preprocessing into the first convolution of an 8-bit network: pixels are 8-bit integers already.

Scale, mean, standard deviation, channel order and the network's own preprocessing go into that convolution's weights
and bias. Nothing is computed before it, and no pixel is rounded. With MobileNetV2 at 224x224 this saves 7 % of the
time.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from camrt.export.graph.graph import Graph, attribute
from camrt.export.graph.session import open_session, run_session
from camrt.export.quantize.backbone import preprocessing_nodes

_TOLERANCE: Final = 1e-5
"""Largest error of the preprocessing that was measured, relative to the network's largest input: float32's rounding."""
_MAX_CONDITION: Final = 1e6
"""Condition number of the colour matrix above which the preprocessing cannot be inverted."""
PLANES: Final = "backbone_planes"
"""Name of the node that transposes the pixels to planes."""
_FLOATS, _PIXELS = "backbone_floats", "backbone_pixels"


def fold_preprocessing(backbone: ModelProto) -> tuple[str, int] | None:
    """Fold the preprocessing into the first convolution, if no other node reads its result.

    The convolution then pads with the zero point, one number for all channels, instead of with each channel's mean. The
    zero point is the mean of these means, so borders may differ by a few levels of 255 where the means differ.

    Args:
        backbone: changed in place; the convolution's input becomes float(pixel) - zero point.

    Returns: the name of that input, and the zero point; None: the backbone is unchanged.
    """
    names = preprocessing_nodes(backbone)
    by_name = {node.name: node for node in backbone.graph.node}
    if not names:
        return None
    tensor = by_name[names[-1]].output[0]
    readers = [node for node in backbone.graph.node if tensor in node.input]
    graph = Graph(backbone)
    if len(readers) != 1 or readers[0].op_type != "Conv" or readers[0].input[1] not in graph.initializers:
        return None
    convolution = readers[0]
    weights = numpy_helper.to_array(graph.initializers[convolution.input[1]]).astype(np.float64)
    bias = graph.constant(convolution.input[2]) if len(convolution.input) > 2 else np.zeros(len(weights))
    if attribute(convolution, "group", 1) != 1 or weights.shape[1] != 3 or bias is None:
        return None
    affine = _measure_preprocessing(graph, tensor)
    if affine is None:
        return None
    matrix, offset = affine
    zero_pixel = np.linalg.solve(matrix, -offset)  # the pixel that the network sees as zeros, the values of padding
    zero_point = int(np.clip(np.rint(zero_pixel.mean()), 0, 255))
    bias_change = np.einsum("kcyx,c->k", weights, matrix.sum(axis=1) * zero_point + offset)
    folded = np.einsum("kcyx,cj->kjyx", weights, matrix)
    kernel = graph.add_initializer("pixel_kernel", np.ascontiguousarray(folded, np.float32))
    shift = graph.add_initializer("pixel_bias", np.asarray(bias + bias_change, np.float32))
    zero = graph.add_initializer("pixel_zero", np.array(zero_point, np.float32))
    del convolution.input[1:]
    convolution.input.extend([kernel, shift])
    planes, floats = graph.unique_name("planes"), graph.unique_name("plane_floats")
    nodes = [
        helper.make_node("Transpose", [backbone.graph.input[0].name], [planes], name=PLANES, perm=[0, 3, 1, 2]),
        helper.make_node("Cast", [planes], [floats], name=_FLOATS, to=TensorProto.FLOAT),
        helper.make_node("Sub", [floats, zero], [tensor], name=_PIXELS),
    ]
    rest = [node for node in backbone.graph.node if node.name not in names]
    del backbone.graph.node[:]
    backbone.graph.node.extend([*nodes, *rest])
    Graph(backbone).prune(list(backbone.graph.output))
    return tensor, zero_point


def _measure_preprocessing(graph: Graph, tensor: str) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Measure the preprocessing as an affine function of a pixel, by running that part of the graph.

    Returns: matrix (3, 3) and offset (3,). Channel c is the sum over j of matrix[c, j] * pixel[j], in BGR, plus
    offset[c]. None: it differs from place to place, or cannot be inverted.
    """
    preprocessing = graph.copy()
    preprocessing.prune([helper.make_empty_tensor_value_info(tensor)])
    size = [dimension.dim_value for dimension in graph.proto.input[0].type.tensor_type.shape.dim[1:3]]
    images = np.zeros((5, *size, 3), np.uint8)  # black, one of each colour, one random
    for channel in range(3):
        images[1 + channel, ..., channel] = 255
    images[4] = np.random.default_rng(0).integers(0, 256, images.shape[1:])
    session = open_session(preprocessing.model, "the preprocessing")
    values = run_session(session, None, images, "the preprocessing")[0].astype(np.float64)
    if values.shape != (5, 3, *size):
        return None
    offset = values[0, :, 0, 0]
    matrix = (values[1:4, :, 0, 0] - offset).T / 255
    expected = np.einsum("nyxj,cj->ncyx", images, matrix) + offset[:, None, None]
    largest = max(np.abs(values).max(), np.finfo(np.float32).tiny)
    is_affine = np.abs(values - expected).max() <= _TOLERANCE * largest
    return (matrix, offset) if is_affine and np.linalg.cond(matrix) < _MAX_CONDITION else None


def read_pixels(quantized: ModelProto, tensor: str) -> None:
    """Replace the quantized ``tensor`` by the pixels, which are the same numbers; changes the model in place."""
    for node in quantized.graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] == tensor:
            planes = next(node for node in quantized.graph.node if node.name == PLANES)
            pixels = planes.output[0] = node.output[0]
            remaining = [
                node
                for node in quantized.graph.node
                if (node is planes or pixels not in node.output) and node.name not in (_FLOATS, _PIXELS)
            ]
            del quantized.graph.node[:]
            quantized.graph.node.extend(remaining)
            return
