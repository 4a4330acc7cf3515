"""Let the first convolution of an 8-bit network read the pixels themselves: they are 8-bit integers already.

Scale, mean, standard deviation and channel order go into its weights and bias, so nothing is computed before it and no
pixel is rounded. Measured with MobileNetV2 at 224x224 it saves 7 % of the whole time.
"""

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from camrt.export.graph import Graph, attribute
from camrt.export.network_body import pixel_nodes
from camrt.model_file import ModelInfo

_PLANES, _FLOATS, _PIXELS = "body_planes", "body_floats", "body_pixels"


def fold_preprocessing(body: ModelProto, info: ModelInfo) -> tuple[str, int] | None:
    """Fold the preprocessing into the first convolution, if that alone reads its result.

    What pads the convolution is the zero point then, one number for all channels, where it was each channel's mean: the
    mean of the means is taken, so a border may differ by a few levels of 255 where the means do.

    Args:
        body: changed in place; its pixels become float(pixel) - zero point.
        info: says what the preprocessing is.

    Returns: the name of the tensor with these numbers, and the zero point; None: the body is as it was.
    """
    names = pixel_nodes(body)
    by_name = {node.name: node for node in body.graph.node}
    stated = info.preprocessing
    if not names or not {"channels", "scale", "mean", "std"} <= set(stated):
        return None
    tensor = by_name[names[-1]].output[0]
    readers = [node for node in body.graph.node if tensor in node.input]
    graph = Graph(body)
    if len(readers) != 1 or readers[0].op_type != "Conv" or readers[0].input[1] not in graph.initializers:
        return None
    convolution = readers[0]
    weights = numpy_helper.to_array(graph.initializers[convolution.input[1]]).astype(np.float64)
    bias = graph.constant(convolution.input[2]) if len(convolution.input) > 2 else np.zeros(len(weights))
    if attribute(convolution, "group", 1) != 1 or weights.shape[1] != 3 or bias is None:
        return None
    std = np.asarray(stated["std"], np.float64)
    factor = float(stated["scale"]) / std  # (3,), in the network's order of channels
    offset = -np.asarray(stated["mean"], np.float64) / std
    zero_point = int(np.clip(np.rint(np.mean(-offset / factor)), 0, 255))
    moved = np.einsum("kcyx,c->k", weights, factor * zero_point + offset)
    folded = weights * factor[:, np.newaxis, np.newaxis]
    if stated["channels"] == "rgb":
        folded = folded[:, ::-1]
    kernel = graph.add_initializer("pixel_kernel", np.ascontiguousarray(folded, np.float32))
    shift = graph.add_initializer("pixel_bias", np.asarray(bias + moved, np.float32))
    point = graph.add_initializer("pixel_zero", np.array(zero_point, np.float32))
    del convolution.input[1:]
    convolution.input.extend([kernel, shift])
    planes, floats = graph.fresh("planes"), graph.fresh("plane_floats")
    nodes = [
        helper.make_node("Transpose", [body.graph.input[0].name], [planes], name=_PLANES, perm=[0, 3, 1, 2]),
        helper.make_node("Cast", [planes], [floats], name=_FLOATS, to=TensorProto.FLOAT),
        helper.make_node("Sub", [floats, point], [tensor], name=_PIXELS),
    ]
    rest = [node for node in body.graph.node if node.name not in names]
    del body.graph.node[:]
    body.graph.node.extend([*nodes, *rest])
    Graph(body).prune(list(body.graph.output))
    return tensor, zero_point


def read_pixels(quantized: ModelProto, tensor: str) -> None:
    """Let what reads the quantized ``tensor`` read the pixels, which are the same numbers."""
    for node in quantized.graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] == tensor:
            planes = next(node for node in quantized.graph.node if node.name == _PLANES)
            pixels, planes.output[0] = node.output[0], node.output[0]
            rest = [node for node in quantized.graph.node if node is planes or pixels not in node.output]
            kept = [node for node in rest if node.name not in (_FLOATS, _PIXELS)]
            del quantized.graph.node[:]
            quantized.graph.node.extend(kept)
            return
