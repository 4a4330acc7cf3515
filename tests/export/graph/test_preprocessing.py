"""The preprocessing: the graph computes what the options say, for every kind of input."""

import json

import numpy as np
import onnx
import PIL.Image
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
        {"channels": "rgba"},
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


def network_of_its_input(tmp_path, shape, *, as_bytes=False, opset=17):
    """A classifier whose feature map is its input, as floats."""
    net = Net(opset)
    net.input_shape = shape
    count = shape[1] if shape[1] < 5 else shape[3]
    if as_bytes:
        net.input_kind = onnx.TensorProto.UINT8
    floats = net.cast(net.input) if as_bytes else net.input
    planes = floats if shape[1] == count else net.op("Transpose", floats, perm=[0, 3, 1, 2])
    maps = net.op("Conv", planes, net.const(np.eye(count, dtype=np.float32).reshape(count, count, 1, 1)))
    logits = net.gemm(net.op("Flatten", net.op("GlobalAveragePool", maps)), channels=count)
    return net.save(tmp_path / "in.onnx", logits)


@pytest.mark.parametrize("opset", [9, 17])
@pytest.mark.parametrize("as_bytes", [False, True])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("size", [8, 28, 48, 224])
@pytest.mark.input_kind("model", "grey network (MNIST, OCR, X-ray, faces)", "Pillow's mode L", "equal pixels")
@pytest.mark.input_kind("preprocessing", "inverted pixels (--invert)", "255 - pixel in NumPy", "equal pixels")
def test_grey_network_gets_the_brightness_that_pillow_computes(size, invert, layout, as_bytes, opset, tmp_path):
    shape = ["N", 1, size, size] if layout == "nchw" else ["N", size, size, 1]
    source = network_of_its_input(tmp_path, shape, as_bytes=as_bytes, opset=opset)
    report = attach(source, tmp_path / "out.onnx", invert=invert, **{} if as_bytes else {"scale": 1.0})
    assert report.head == "linear"
    images = random_images(2, size, size)
    grey = np.stack([np.asarray(PIL.Image.fromarray(image[..., ::-1]).convert("L")) for image in images])
    expected = 255.0 - grey if invert else grey
    assert (run(tmp_path / "out.onnx", images)["features"][:, 0] == expected).all()
    entry = json.loads(session(tmp_path / "out.onnx").get_modelmeta().custom_metadata_map["camrt.preprocessing"])
    assert (entry["channels"], entry.get("invert", False)) == ("grey", invert)


def test_grey_pixels_are_scaled_to_one_by_default(tmp_path):
    source = network_of_its_input(tmp_path, ["N", 1, 12, 12])
    sentences = " ".join(attach(source, tmp_path / "out.onnx").assumptions)
    assert "grey pixels / 255" in sentences
    assert "RGB" not in sentences
    white = np.full((1, 12, 12, 3), 255, np.uint8)
    assert (run(tmp_path / "out.onnx", white)["features"] == 1).all()


@pytest.mark.parametrize("as_bytes", [False, True])
@pytest.mark.parametrize("channels", ["rgb", "bgr"])
@pytest.mark.parametrize("shape", [["N", 4, 8, 8], ["N", 8, 8, 4]])
@pytest.mark.input_kind("model", "network with four channels (RGBA)", "NumPy", "equal pixels; alpha is 255")
def test_network_with_four_channels_gets_an_opaque_alpha(shape, channels, as_bytes, tmp_path):
    source = network_of_its_input(tmp_path, shape, as_bytes=as_bytes)
    numbers = {} if as_bytes else {"scale": 1.0, "mean": (10, 20, 30), "std": (2, 4, 8)}
    report = attach(source, tmp_path / "out.onnx", channels=channels, invert=True, **numbers)
    assert any("alpha" in sentence and "255" in sentence for sentence in report.assumptions)
    images = random_images(2)
    colours = 255.0 - (images[..., ::-1] if channels == "rgb" else images)
    if not as_bytes:
        colours = (colours - numbers["mean"]) / numbers["std"]
    expected = np.concatenate([colours, np.full_like(colours[..., :1], 255)], axis=-1).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(run(tmp_path / "out.onnx", images)["features"], expected, rtol=1e-6)


def test_alpha_has_a_mean_of_its_own_with_four_numbers(tmp_path):
    source = network_of_its_input(tmp_path, ["N", 4, 8, 8])
    attach(source, tmp_path / "out.onnx", scale=1.0, mean=(0, 0, 0, 100), std=(1, 1, 1, 5))
    features = run(tmp_path / "out.onnx", random_images(1))["features"]
    assert (features[:, 3] == 31).all()


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
