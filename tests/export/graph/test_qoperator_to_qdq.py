"""Quantized classifiers, in each of the three formats that ONNX Runtime's tools write."""

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

from camrt.export import attach
from support.export_graphs import CHANNELS, CLASSES, PLAIN, Net, assert_identity, random_images, run, session, softmax


class RandomImages(CalibrationDataReader):
    """Random images, one at a time."""

    def __init__(self, name):
        data = random_images(20).transpose(0, 3, 1, 2).astype(np.float32)
        self.left = [{name: image[None]} for image in data]

    def get_next(self):
        return self.left.pop() if self.left else None


def class_maps(net):
    maps = net.op("Conv", net.features(), net.weights(CLASSES, CHANNELS, 1, 1), net.weights(CLASSES))
    return net.op("Flatten", net.op("GlobalAveragePool", maps))


def fully_connected(net):
    return net.gemm(net.pooled())


def fully_connected_as_convolution(net):
    pooled = net.op("GlobalAveragePool", net.features())
    return net.op("Flatten", net.op("Conv", pooled, net.weights(CLASSES, CHANNELS, 1, 1), net.weights(CLASSES)))


@pytest.mark.parametrize(
    "head", [fully_connected, fully_connected_as_convolution, class_maps], ids=lambda head: head.__name__
)
@pytest.mark.parametrize("quantization", ["QDQ", "QOperator", "dynamic"])
def test_quantized_classifier_is_converted(quantization, head, tmp_path):
    net = Net()
    source = net.save(tmp_path / "float.onnx", head(net))
    quantized = tmp_path / "in.onnx"
    if quantization == "dynamic":
        quantize_dynamic(source, quantized, weight_type=QuantType.QInt8)
    else:
        quantize_static(
            source, quantized, RandomImages("data"), quant_format=QuantFormat[quantization], per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip
    report = attach(quantized, tmp_path / "out.onnx", **PLAIN)
    assert report.head == ("pooled_class_maps" if head is class_maps else "linear")
    images = random_images(5)
    results = run(tmp_path / "out.onnx", images[:1])
    tolerance = max(report.verification["identity_tolerance"], 1e-5)
    assert_identity(results, tolerance)
    data = images.transpose(0, 3, 1, 2).astype(np.float32)
    np.testing.assert_allclose(results["scores"], softmax(_run_source(quantized, data[:1])), atol=1e-5)
    operators = {node.op_type for node in onnx.load(tmp_path / "out.onnx").graph.node}
    assert not {name for name in operators if name.startswith(("QLinear", "QGemm"))}


def _run_source(source, network_input):
    opened = session(source)
    return opened.run(None, {opened.get_inputs()[0].name: network_input})[0]
