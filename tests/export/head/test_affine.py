"""Whatever folds into one linear layer is folded, and the proof is the identity."""

import cv2
import numpy as np
import onnx
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

from camrt.export import attach
from support.export_graphs import (
    CHANNELS,
    CLASSES,
    PLAIN,
    Net,
    assert_identity,
    expected_output,
    random_pictures,
    run,
    session,
    softmax,
)


def normalisation(net, tensor, channels):
    random = net.random
    values = [random.normal(1, 0.2, channels), random.normal(0, 1, channels), random.normal(0, 1, channels)]
    constants = [net.const(value.astype(np.float32)) for value in (*values, random.uniform(0.5, 2, channels))]
    return net.op("BatchNormalization", tensor, *constants, epsilon=1e-3)


def normalised_before(net, pooled):
    return net.gemm(net.op("Flatten", normalisation(net, pooled, CHANNELS)))


def normalised_behind(net, pooled):
    return normalisation(net, net.gemm(net.op("Flatten", pooled)), CLASSES)


def scaled_and_shifted(net, pooled):
    scaled = net.op("Mul", pooled, net.weights(1, CHANNELS, 1, 1))
    shifted = net.op("Sub", net.weights(CHANNELS, 1, 1), scaled)
    return net.gemm(net.op("Flatten", net.op("Div", shifted, net.const(np.array(0.5, np.float32)))))


def two_layers(net, pooled):
    first = net.op("Gemm", net.op("Flatten", pooled), net.weights(7, CHANNELS), net.weights(7), transB=1)
    return net.op("Add", net.op("MatMul", net.op("Dropout", first), net.weights(7, CLASSES)), net.weights(CLASSES))


def temperature(net, pooled):
    return net.op("Div", net.gemm(net.op("Flatten", pooled)), net.const(np.array(1.7, np.float32)))


def groups_of_classes(net, pooled):
    flat = net.op("Flatten", pooled)
    parts = [net.op("Gemm", flat, net.weights(size, CHANNELS), net.weights(size), transB=1) for size in (1, 3)]
    return net.op("Concat", *parts, axis=1)


def mean_of_two_layers(net, pooled):
    flat = net.op("Flatten", pooled)
    total = net.op("Add", net.gemm(flat), net.gemm(flat))
    return net.op("Mul", total, net.const(np.array(0.5, np.float32)))


def spatial_axes_kept(net, pooled):
    """[N, K, 1, 1], as many model zoos leave it."""
    return net.op("Conv", pooled, net.weights(CLASSES, CHANNELS, 1, 1), net.weights(CLASSES))


def seen_through_by_running_only(net, pooled):
    """What torch makes of ``as_strided``: a Gather of flattened numbers that picks each in its place."""
    size = net.op("Shape", net.op("Flatten", pooled))
    rows = net.op("Gather", size, net.const(np.array(0, np.int64)), axis=0)
    first, step = net.const(np.array(0, np.int64)), net.const(np.array(1, np.int64))
    starts = net.op("Mul", net.op("Range", first, rows, step), net.const(np.array(CHANNELS, np.int64)))
    places = net.op("Add", net.squeeze(starts, [1], "Unsqueeze"), net.const(np.arange(CHANNELS)[None]))
    flat = net.op("Reshape", pooled, net.const(np.array([-1], np.int64)))
    return net.gemm(net.op("Gather", flat, places, axis=0))


HEADS = [
    normalised_before,
    normalised_behind,
    scaled_and_shifted,
    two_layers,
    temperature,
    groups_of_classes,
    mean_of_two_layers,
    spatial_axes_kept,
    seen_through_by_running_only,
]


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.__name__)
def test_what_is_affine_is_one_linear_layer(head, tmp_path):
    net = Net()
    output = head(net, net.op("GlobalAveragePool", net.features()))
    shapes = {output: ["N", CLASSES, 1, 1]} if head is spatial_axes_kept else {}
    check(net.save(tmp_path / "in.onnx", output, **shapes), tmp_path)


def test_a_convolution_in_groups_is_a_layer_that_sees_its_own_channels(tmp_path):
    net = Net()
    pooled = net.op("GlobalAveragePool", net.features(6))
    output = net.op("Flatten", net.op("Conv", pooled, net.weights(CLASSES, 3, 1, 1), net.weights(CLASSES), group=2))
    results = check(net.save(tmp_path / "in.onnx", output), tmp_path)
    weights = results["cam_weights"]
    assert not weights[:2, 3:].any()
    assert not weights[2:, :3].any()
    assert weights[:2, :3].all()


def check(source, tmp_path, tolerance=1e-5, **options):
    report = attach(source, tmp_path / "out.onnx", **(PLAIN | options))
    results = run(tmp_path / "out.onnx", random_pictures(3))
    assert report.head == "linear"
    assert_identity(results, tolerance)
    expected = expected_output(source, random_pictures(3))
    np.testing.assert_allclose(results["logits"], expected, rtol=0, atol=tolerance * np.abs(expected).max())
    onnx.checker.check_model(onnx.load(tmp_path / "out.onnx"), full_check=True)
    return results


def test_the_mean_over_tokens_is_a_pool(tmp_path):
    """A transformer whose head reads the mean of all patches: its tokens are a map, and the identity holds."""
    net = Net()
    cells = net.op("Reshape", net.features(), net.const(np.array([0, CHANNELS, 16], np.int64)))
    tokens = net.op("Transpose", cells, perm=[0, 2, 1])
    mixed = net.op("MatMul", net.op("Softmax", net.op("MatMul", tokens, cells), axis=-1), tokens)
    results = check(net.save(tmp_path / "in.onnx", net.gemm(net.mean(mixed, [1], 0))), tmp_path)
    assert results["features"].shape == (3, CHANNELS, 4, 4)
    pooled = net.op("GlobalAveragePool", cells)
    results = check(net.save(tmp_path / "in2.onnx", net.gemm(net.op("Flatten", pooled), to="second")), tmp_path,
                    overwrite=True)  # fmt: skip
    assert results["features"].shape == (3, CHANNELS, 4, 4)


@pytest.mark.parametrize("axes", [[1, 2], [-3, -2]])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_a_network_with_channels_last(axes, keepdims, tmp_path):
    """Keras by way of tf2onnx: a Transpose in front, and the mean over axes 1 and 2 of a map with channels last."""
    net = Net()
    net.picture = ["N", 8, 8, 3]
    maps = net.features(source=net.op("Transpose", net.input, perm=[0, 3, 1, 2]))
    pooled = net.mean(net.op("Transpose", maps, perm=[0, 2, 3, 1]), axes, keepdims)
    source = net.save(tmp_path / "in.onnx", net.gemm(net.op("Flatten", pooled)))
    report = attach(source, tmp_path / "out.onnx", **PLAIN)
    results = run(tmp_path / "out.onnx", random_pictures(3))
    assert report.features == (CHANNELS, 4, 4)
    assert_identity(results)
    expected = np.concatenate([_run(source, one[None].astype(np.float32)) for one in random_pictures(3)])
    np.testing.assert_allclose(results["logits"], expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    rgb = attach(source, tmp_path / "rgb.onnx", scale=1.0, mean=(0, 0, 0), std=(1, 1, 1))
    assert rgb.head == "linear"
    turned = run(tmp_path / "rgb.onnx", random_pictures(3)[..., ::-1].copy())
    np.testing.assert_allclose(turned["logits"], expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def _run(source, network_input):
    opened = session(source)
    return opened.run(None, {opened.get_inputs()[0].name: network_input})[0]


@pytest.mark.parametrize("shape", [["N", 1, 8, 8], ["N", 8, 8, 1]])
def test_a_network_for_grey_pictures(shape, tmp_path):
    net = Net()
    net.picture = shape
    last = shape[-1] == 1
    grey = net.op("Transpose", net.input, perm=[0, 3, 1, 2]) if last else net.input
    maps = net.features(source=grey, colours=1)
    source = net.save(tmp_path / "in.onnx", net.gemm(net.op("Flatten", net.op("GlobalAveragePool", maps))))
    report = attach(source, tmp_path / "out.onnx", scale=1.0)
    assert report.head == "linear"
    pictures = random_pictures(3)
    results = run(tmp_path / "out.onnx", pictures)
    assert_identity(results)
    by_opencv = [cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) for picture in pictures]
    arranged = np.stack(by_opencv).astype(np.float32)[..., None]
    expected = _run(source, arranged if last else arranged.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(results["logits"], expected, rtol=0, atol=0.02 * np.abs(expected).max())
    assumed = " ".join(attach(source, tmp_path / "assumed.onnx").assumptions)
    assert "grey pixels / 255" in assumed
    assert "RGB" not in assumed


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_a_network_that_takes_bytes(channels, tmp_path):
    """Its preprocessing is inside already: pixels go in as they are."""
    net = Net()
    net.picture, net.input_kind = ["N", 8, 8, 3], onnx.TensorProto.UINT8
    floats = net.cast(net.op("Transpose", net.input, perm=[0, 3, 1, 2]))
    pooled = net.op("GlobalAveragePool", net.features(source=floats))
    source = net.save(tmp_path / "in.onnx", net.gemm(net.op("Flatten", pooled)))
    report = attach(source, tmp_path / "out.onnx", channels=channels)
    assert not any("ImageNet" in sentence for sentence in report.assumptions)
    pictures = random_pictures(3)
    results = run(tmp_path / "out.onnx", pictures)
    assert_identity(results)
    expected = _run(source, np.ascontiguousarray(pictures[..., ::-1]) if channels == "rgb" else pictures)
    np.testing.assert_allclose(results["logits"], expected, rtol=0, atol=1e-5 * np.abs(expected).max())


class Pictures(CalibrationDataReader):
    """Random pictures, one at a time."""

    def __init__(self, name):
        data = random_pictures(20).transpose(0, 3, 1, 2).astype(np.float32)
        self.left = [{name: picture[None]} for picture in data]

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
    "head", [fully_connected, fully_connected_as_convolution, class_maps], ids=lambda h: h.__name__
)
@pytest.mark.parametrize("dress", ["QDQ", "QOperator", "dynamic"])
def test_quantized_by_onnx_runtime(dress, head, tmp_path):
    """Its own tools, in each of the three forms that they write."""
    net = Net()
    source = net.save(tmp_path / "float.onnx", head(net))
    quantized = tmp_path / "in.onnx"
    if dress == "dynamic":
        quantize_dynamic(source, quantized, weight_type=QuantType.QInt8)
    else:
        quantize_static(
            source, quantized, Pictures("data"), quant_format=QuantFormat[dress], per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip
    report = attach(quantized, tmp_path / "out.onnx", **PLAIN)
    assert report.head == ("pooled_class_maps" if head is class_maps else "linear")
    pictures = random_pictures(5)
    results = run(tmp_path / "out.onnx", pictures[:1])
    tolerance = max(report.verification["identity_tolerance"], 1e-5)
    assert_identity(results, tolerance)
    data = pictures.transpose(0, 3, 1, 2).astype(np.float32)
    np.testing.assert_allclose(results["scores"], softmax(_run(quantized, data[:1])), atol=1e-5)
    operators = {node.op_type for node in onnx.load(tmp_path / "out.onnx").graph.node}
    assert not {name for name in operators if name.startswith(("QLinear", "QGemm"))}
