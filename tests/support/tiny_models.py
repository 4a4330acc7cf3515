"""Small model files made with onnx alone, so that tests of the runtime do not depend on the export."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from camrt import model_file
from camrt.model_file import HeadInfo, InputGeometry, ModelInfo

LABELS = ("anchor", "boat", "cup", "duck")
SIZE = 32


def write_linear(path, *, info=None, seed=0, channels=8):
    """Write a convolution with stride 4, ReLU, GAP and a linear layer: features (channels, 8, 8), four classes."""
    random = np.random.default_rng(seed)
    nodes, initializers = _pixels_to_float()
    initializers |= {
        "kernel": random.normal(0, 0.1, (channels, 3, 4, 4)),
        "weight": random.normal(0, 1, (len(LABELS), channels)),
        "bias": random.normal(0, 1, len(LABELS)),
    }
    nodes += [
        helper.make_node("Conv", ["pixels", "kernel"], ["convolved"], strides=[4, 4]),
        helper.make_node("Relu", ["convolved"], ["features"]),
        helper.make_node("GlobalAveragePool", ["features"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight", "bias"], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
        helper.make_node("Identity", ["weight"], ["cam_weights"]),
        helper.make_node("Identity", ["bias"], ["cam_bias"]),
    ]
    shapes = {
        "scores": ["N", len(LABELS)],
        "logits": ["N", len(LABELS)],
        "features": ["N", channels, 8, 8],
        "cam_weights": [len(LABELS), channels],
        "cam_bias": [len(LABELS)],
    }
    return _save(path, nodes, initializers, shapes, info or model_info())


HEADS = ("kind", "size")
"""Names of the heads of `write_two_heads`."""
SIZES = ("small", "medium", "large")


def write_two_heads(path, *, info=None):
    """Write `write_linear` with a second head "size" of three classes, on class maps of the same features."""
    model = onnx.load(write_linear(path))
    weight = np.random.default_rng(2).normal(0, 1, (len(SIZES), 8, 1, 1)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "sizes"))
    model.graph.node.extend(
        [
            helper.make_node("Conv", ["features", "sizes"], ["class_maps.size"]),
            helper.make_node("GlobalAveragePool", ["class_maps.size"], ["pooled.size"]),
            helper.make_node("Flatten", ["pooled.size"], ["logits.size"]),
            helper.make_node("Sigmoid", ["logits.size"], ["scores.size"]),
        ]
    )
    shapes = {"scores.size": ["N", 3], "logits.size": ["N", 3], "class_maps.size": ["N", 3, 8, 8]}
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()
    )
    shared = {"map_margin": 0, "verification": {}}
    heads = (
        HeadInfo(name="kind", classes=4, labels=LABELS, activation="softmax", head="linear", **shared),
        HeadInfo(name="size", classes=3, labels=SIZES, activation="sigmoid", head="pooled_class_maps", **shared),
    )
    helper.set_model_props(model, (info or model_info(head="linear", heads=heads)).to_metadata())
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def write_class_maps(path, *, info=None):
    """Write a padded 1x1 convolution with one pooled map per class: class_maps (4, 10, 10) with a margin of 1."""
    random = np.random.default_rng(1)
    nodes, initializers = _pixels_to_float()
    initializers |= {
        "kernel": random.normal(0, 0.1, (6, 3, 4, 4)),
        "last": random.normal(0, 1, (len(LABELS), 6, 1, 1)),
        "bias": random.normal(0, 1, len(LABELS)),
    }
    nodes += [
        helper.make_node("Conv", ["pixels", "kernel"], ["convolved"], strides=[4, 4]),
        helper.make_node("Conv", ["convolved", "last", "bias"], ["mapped"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["mapped"], ["class_maps"]),
        helper.make_node("GlobalAveragePool", ["class_maps"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
    ]
    shapes = {"scores": ["N", len(LABELS)], "logits": ["N", len(LABELS)], "class_maps": ["N", len(LABELS), 10, 10]}
    return _save(path, nodes, initializers, shapes, info or model_info(map_margin=1))


def model_info(**changes):
    """Return metadata as the export writes it."""
    usual = {"labels": LABELS, "geometry": InputGeometry(width=SIZE, height=SIZE), "activation": "softmax"}
    return ModelInfo(**(usual | changes))


def _pixels_to_float():
    nodes = [
        helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["floats", "full"], ["pixels"]),
    ]
    return nodes, {"full": np.array(255.0)}


def _save(path, nodes, initializers, shapes, info):
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(model_file.IMAGE, TensorProto.UINT8, ["N", SIZE, SIZE, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in initializers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, info.to_metadata())
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
