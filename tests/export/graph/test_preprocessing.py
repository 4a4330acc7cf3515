"""The preprocessing: the graph computes what the options say, for every kind of input."""

import cv2
import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from camrt.errors import UsageError
from camrt.export import attach
from camrt.export.graph.preprocessing import Preprocessing
from support.export_graphs import CHANNELS, PLAIN, Net, assert_identity, random_images, run, session


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    scale=st.sampled_from([1.0, 1 / 255, 1 / 127.5]),
    mean=st.lists(st.floats(-1, 1), min_size=3, max_size=3),
    std=st.lists(st.floats(0.1, 10), min_size=3, max_size=3),
)
def test_graph_applies_the_preprocessing_options(channels, tmp_path, scale, mean, std):
    """A 1x1 convolution copies its input, so the features are (pixel * scale - mean) / std."""
    net = Net()
    maps = net.op("Conv", net.input, net.const(np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)))
    source = net.save(tmp_path / "in.onnx", net.gemm(net.op("Flatten", net.op("GlobalAveragePool", maps)), channels=3))
    scaled_mean = [value * 255 * scale for value in mean]
    attach(source, tmp_path / "out.onnx", channels=channels, scale=scale, mean=scaled_mean, std=std, overwrite=True)
    images = random_images(2)
    ordered = images[..., ::-1] if channels == "rgb" else images
    expected = ((ordered * scale - np.array(scaled_mean)) / np.array(std)).transpose(0, 3, 1, 2)
    features = run(tmp_path / "out.onnx", images)["features"]
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_preprocessing_that_changes_nothing_adds_no_node(classifier, tmp_path):
    attach(classifier, tmp_path / "plain.onnx", **PLAIN)
    operators = [node.op_type for node in onnx.load(tmp_path / "plain.onnx").graph.node]
    assert operators[:2] == ["Transpose", "Cast"]
    assert "Gather" not in operators
    assert operators.count("Mul") == 1  # the network's own


@pytest.mark.parametrize(
    "wrong",
    [
        {"mean": (123, 117, 104)},  # of 0..255, beside scale 1/255
        {"std": (1, 0, 1)},
        {"scale": 0},
        {"scale": float("nan")},
        {"mean": (0, 0)},
        {"channels": "gbr"},
    ],
)
def test_invalid_preprocessing_is_refused(wrong):
    with pytest.raises(UsageError):
        Preprocessing(**wrong)


def test_network_with_double_input_gets_doubles(tmp_path):
    net = Net()
    net.nodes.append(onnx.helper.make_node("Cast", ["doubles"], [net.input], to=onnx.TensorProto.FLOAT))
    output = net.gemm(net.pooled())
    net.input = "doubles"
    model = net.model(output)
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    onnx.save(model, tmp_path / "in.onnx")
    attach(tmp_path / "in.onnx", tmp_path / "out.onnx", **PLAIN)
    assert_identity(run(tmp_path / "out.onnx", random_images(2)))


@pytest.mark.parametrize("axes", [[1, 2], [-3, -2]])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_network_with_channels_last_gets_them_last(axes, keepdims, tmp_path):
    """As tf2onnx writes Keras: a Transpose first, and the mean over axes 1 and 2 of a map with channels last."""
    net = Net()
    net.input_shape = ["N", 8, 8, 3]
    maps = net.features(source=net.op("Transpose", net.input, perm=[0, 3, 1, 2]))
    pooled = net.mean(net.op("Transpose", maps, perm=[0, 2, 3, 1]), axes, keepdims)
    source = net.save(tmp_path / "in.onnx", net.gemm(net.op("Flatten", pooled)))
    report = attach(source, tmp_path / "out.onnx", **PLAIN)
    results = run(tmp_path / "out.onnx", random_images(3))
    assert report.features == (CHANNELS, 4, 4)
    assert_identity(results)
    expected = np.concatenate([_run_source(source, one[None].astype(np.float32)) for one in random_images(3)])
    np.testing.assert_allclose(results["logits"], expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    rgb = attach(source, tmp_path / "rgb.onnx", scale=1.0, mean=(0, 0, 0), std=(1, 1, 1))
    assert rgb.head == "linear"
    swapped = run(tmp_path / "rgb.onnx", random_images(3)[..., ::-1].copy())
    np.testing.assert_allclose(swapped["logits"], expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("shape", [["N", 1, 8, 8], ["N", 8, 8, 1]])
def test_network_with_one_channel_gets_grey_images(shape, tmp_path):
    net = Net()
    net.input_shape = shape
    channels_last = shape[-1] == 1
    grey = net.op("Transpose", net.input, perm=[0, 3, 1, 2]) if channels_last else net.input
    maps = net.features(source=grey, colours=1)
    source = net.save(tmp_path / "in.onnx", net.gemm(net.op("Flatten", net.op("GlobalAveragePool", maps))))
    report = attach(source, tmp_path / "out.onnx", scale=1.0)
    assert report.head == "linear"
    images = random_images(3)
    results = run(tmp_path / "out.onnx", images)
    assert_identity(results)
    grey_images = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in images]
    network_inputs = np.stack(grey_images).astype(np.float32)[..., None]
    expected = _run_source(source, network_inputs if channels_last else network_inputs.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(results["logits"], expected, rtol=0, atol=0.02 * np.abs(expected).max())
    sentences = " ".join(attach(source, tmp_path / "assumed.onnx").assumptions)
    assert "expect pixels from 0 to 255" in sentences  # the network divides by 255
    assert "RGB" not in sentences


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_network_with_byte_input_gets_the_pixels(channels, tmp_path):
    """Such a network has its own preprocessing."""
    net = Net()
    net.input_shape, net.input_kind = ["N", 8, 8, 3], onnx.TensorProto.UINT8
    floats = net.cast(net.op("Transpose", net.input, perm=[0, 3, 1, 2]))
    pooled = net.op("GlobalAveragePool", net.features(source=floats))
    source = net.save(tmp_path / "in.onnx", net.gemm(net.op("Flatten", pooled)))
    report = attach(source, tmp_path / "out.onnx", channels=channels)
    assert not any("ImageNet" in sentence for sentence in report.assumptions)
    images = random_images(3)
    results = run(tmp_path / "out.onnx", images)
    assert_identity(results)
    expected = _run_source(source, np.ascontiguousarray(images[..., ::-1]) if channels == "rgb" else images)
    np.testing.assert_allclose(results["logits"], expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def _run_source(source, network_input):
    opened = session(source)
    return opened.run(None, {opened.get_inputs()[0].name: network_input})[0]
