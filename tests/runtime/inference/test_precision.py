"""The precision of a file is that of its weights and operators; a provider may compute in another one."""

import platform

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import camrt
from camrt.runtime.inference.precision import file_precision, precision_remarks, running_precision
from support.tiny_models import write_linear


@pytest.fixture
def path(tmp_path):
    return write_linear(tmp_path / "model.onnx")


def with_weight_types(path, change):
    """Replace the weight of the linear layer by ``change(its values)``: a tensor, and nodes that give it as floats."""
    model = onnx.load(path)
    (weight,) = (tensor for tensor in model.graph.initializer if tensor.name == "weight")
    values = np.resize(numpy_helper.to_array(weight), (512, 8))  # most bytes of the file
    model.graph.initializer.remove(weight)
    model.graph.initializer.append(numpy_helper.from_array(change(values), "stored"))
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.1), "scale"))
    if change(values).dtype == np.int8:
        nodes = [helper.make_node("DequantizeLinear", ["stored", "scale"], ["many"])]
    else:
        nodes = [helper.make_node("Cast", ["stored"], ["many"], to=TensorProto.FLOAT)]
    model.graph.initializer.append(numpy_helper.from_array(np.array([0, 1, 2, 3]), "rows"))
    nodes.append(helper.make_node("Gather", ["many", "rows"], ["weight"]))
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    onnx.save(model, path)
    return path


def test_weights_decide_the_precision(path):
    assert file_precision(path) == camrt.load(path, "cpu").precision == "fp32"
    assert file_precision(with_weight_types(path, lambda values: values.astype(np.float16))) == "fp16"


def test_integer_weights_alone_compute_in_floats(path):
    with_weight_types(path, lambda values: (values * 10).astype(np.int8))
    assert file_precision(path) == camrt.load(path, "cpu").precision == "fp32"
    model = onnx.load(path)
    for node in model.graph.node:
        node.input[:] = ["rounded" if name == "flat" else name for name in node.input]
    gemm = next(index for index, node in enumerate(model.graph.node) if node.op_type == "Gemm")
    for name, given, result in (
        ("DequantizeLinear", "quantized", "rounded"),
        ("QuantizeLinear", "flat", "quantized"),
    ):
        model.graph.node.insert(gemm, helper.make_node(name, [given, "scale"], [result]))
    onnx.save(model, path)
    assert file_precision(path) == camrt.load(path, "cpu").precision == "int8"


def test_real_files(shared_data):
    models = shared_data / "models"
    assert file_precision(models / "mobilenetv2_torchvision_qdq_int8.onnx") == "int8"
    assert file_precision(models / "squeezenet11_caffe.onnx") == "fp32"


X86 = platform.machine().lower() in ("x86_64", "amd64")


@pytest.mark.parametrize(
    ("precision", "provider", "options", "expected"),
    [
        ("fp32", "cpu", {}, "fp32"),
        ("int8", "cpu", {}, "int8"),
        ("fp16", "cpu", {}, "fp16 file, computed in fp32" if X86 else "fp16"),
        ("fp32", "cuda", {}, "fp32 with TF32"),
        ("fp32", "cuda", {"use_tf32": "0"}, "fp32"),
        ("fp16", "cuda", {}, "fp16"),
        ("int8", "cuda", {}, "int8 file, computed in floats"),
        ("fp32", "openvino", {}, "fp32"),
        ("fp16", "openvino", {}, "fp16 file, computed in fp32"),
        ("fp32", "openvino", {"precision": "FP16"}, "fp32 file, computed in FP16"),
        (
            "fp32",
            "openvino",
            {"load_config": '{"CPU": {"INFERENCE_PRECISION_HINT": "bf16"}}'},
            "fp32 file, computed in bf16",
        ),
        ("fp32", "openvino", {"load_config": "no JSON"}, "fp32"),
        ("fp32", "openvino", {"device_type": "GPU"}, "fp32 file, computed in the precision that the provider chooses"),
        ("fp32", "coreml", {}, "fp32 file, computed in the precision that the provider chooses"),
    ],
)
def test_the_precision_that_a_provider_computes_in(precision, provider, options, expected):
    assert running_precision(precision, provider, options) == expected


def test_cuda_says_how_its_results_differ():
    (tf32,) = precision_remarks("fp32", "cuda", {})
    assert "TF32" in tf32
    assert "use_tf32=0" in tf32
    for chosen in ("0", "1"):
        assert precision_remarks("fp32", "cuda", {"use_tf32": chosen}) == []
    (int8,) = precision_remarks("int8", "cuda", {})
    assert "camrt quantize --fp16" in int8
    assert precision_remarks("fp16", "cuda", {}) == precision_remarks("int8", "cpu", {}) == []
