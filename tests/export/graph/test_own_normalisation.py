"""A normalisation at the start of the graph: the pixels that it expects are decided by its numbers."""

import contextlib
import json
import os
import warnings

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from camrt.errors import UsageError
from camrt.export import attach, from_torch
from camrt.export.graph.own_normalisation import find_own_normalisation
from camrt.export.rewrite import load_graph
from support.export_graphs import CHANNELS, Net, random_images, run, session

BYTES = {"scale": 1.0, "mean": [0, 0, 0], "std": [1, 1, 1]}
UNIT = {"scale": 1 / 255, "mean": [0, 0, 0], "std": [1, 1, 1]}
SIGNED = {"scale": 1 / 127.5, "mean": [1, 1, 1], "std": [1, 1, 1]}
IMAGENET = {"scale": 1 / 255, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def constant(net, values, *, axis=1):
    values = np.asarray(values, np.float32)
    return net.const(values if values.ndim != 1 else values.reshape([-1 if index == axis else 1 for index in range(4)]))


def classify(net, tensor):
    maps = net.op("Relu", net.op("Conv", tensor, net.weights(CHANNELS, 3, 3, 3), pads=[1] * 4))
    return net.gemm(net.op("Flatten", net.op("GlobalAveragePool", maps)))


def steps(*operators, axis=1):
    """Return a start of a graph: pairs of an operator and its constant; None as constant: a unary one."""

    def build(net, tensor):
        for op_type, value in operators:
            tensor = (
                net.op(op_type, tensor) if value is None else net.op(op_type, tensor, constant(net, value, axis=axis))
            )
        return tensor

    return build


def batch_norm(mean, deviation, scale=(1, 1, 1), shift=(0, 0, 0)):
    def build(net, tensor):
        values = [np.broadcast_to(np.asarray(entry, np.float32), 3).copy() for entry in (scale, shift, mean)]
        variance = (np.broadcast_to(np.asarray(deviation, np.float32), 3) ** 2).astype(np.float32)
        return net.op("BatchNormalization", tensor, *(net.const(entry) for entry in (*values, variance)))

    return build


def after(first, second):
    return lambda net, tensor: second(net, first(net, tensor))


def unary(op_type, **attributes):
    return lambda net, tensor: net.op(op_type, tensor, **attributes)


def pad(net, tensor):
    return net.op("Pad", tensor, net.const(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)))


def depthwise(net, tensor):
    kernel, bias = (
        net.const((1 / 255 / STD).reshape(3, 1, 1, 1).astype(np.float32)),
        net.const((-MEAN / STD).astype(np.float32)),
    )
    return net.op("Conv", tensor, kernel, bias, group=3)


def bgr_then_mean(net, tensor):
    swapped = net.op("Gather", tensor, net.const(np.array([2, 1, 0], np.int64)), axis=1)
    return net.op("Add", swapped, constant(net, [-103.9, -116.8, -123.7]))


def transform_input(net, tensor):
    """Inception V3 of torchvision: it takes ImageNet-normalised pixels and normalises them anew, channel by channel."""
    parts = []
    for channel, (mean, std) in enumerate(zip(MEAN, STD, strict=True)):
        part = net.op("Gather", tensor, net.const(np.array([channel], np.int64)), axis=1)
        part = net.op("Mul", part, constant(net, std / 0.5))
        parts.append(net.op("Add", part, constant(net, (mean - 0.5) / 0.5)))
    return net.op("Concat", *parts, axis=1)


def split_and_subtract(net, tensor):
    """VGG of TensorFlow: RGB is split, each channel loses its mean, and BGR is put together."""
    sizes = net.const(np.array([1, 1, 1], np.int64))
    outputs = [f"channel{number}" for number in range(3)]
    net.nodes.append(onnx.helper.make_node("Split", [tensor, sizes], outputs, axis=1))
    parts = [
        net.op("Sub", name, constant(net, mean)) for name, mean in zip(outputs, (123.68, 116.78, 103.94), strict=True)
    ]
    return net.op("Concat", *parts[::-1], axis=1)


KINDS = {
    "Keras Rescaling(1/255)": (steps(("Mul", 1 / 255), ("Add", 0.0)), BYTES),
    "Keras Rescaling(1/127.5, -1)": (steps(("Mul", 1 / 127.5), ("Add", -1.0)), BYTES),
    "Lambda x / 255": (steps(("Div", 255.0)), BYTES),
    "x / 256 - 0.5": (steps(("Div", 256.0), ("Sub", 0.5)), BYTES),
    "MATLAB mean of the channels": (steps(("Sub", [123.7, 116.8, 103.9])), BYTES),
    "MATLAB mean image": (
        lambda net, tensor: net.op("Sub", tensor, net.const(np.full((1, 3, 8, 8), 118, np.float32))),
        BYTES,
    ),
    "MATLAB zscore": (steps(("Sub", [123.7, 116.8, 103.9]), ("Div", [58.4, 57.1, 57.4])), BYTES),
    "one mean for all": (steps(("Sub", 110.0)), BYTES),
    "Caffe's 0.017": (steps(("Sub", [103.9, 116.8, 123.7]), ("Mul", 0.017)), BYTES),
    "/ 255, then ImageNet": (steps(("Div", 255.0), ("Sub", MEAN), ("Div", STD)), BYTES),
    "behind a padding": (after(pad, steps(("Mul", 1 / 255))), BYTES),
    "behind an identity": (after(unary("Identity"), steps(("Mul", 1 / 255))), BYTES),
    "depthwise 1x1 convolution": (depthwise, BYTES),
    "BGR, then minus the mean": (bgr_then_mean, BYTES),
    "split, minus the mean, joined as BGR": (split_and_subtract, BYTES),
    "split behind a factor of 255": (after(steps(("Mul", 255.0)), split_and_subtract), UNIT),
    "BatchNormalization on 0 to 255": (batch_norm([120, 115, 104], [70, 69, 73]), BYTES),
    "BatchNormalization on a dark 0 to 255": (batch_norm([33, 33, 33], [78, 78, 78]), BYTES),
    "BatchNormalization behind / 255": (
        after(steps(("Div", 255.0)), batch_norm([0.47, 0.45, 0.4], [0.27, 0.27, 0.28])),
        BYTES,
    ),
    "2x - 1": (steps(("Mul", 2.0), ("Sub", 1.0)), UNIT),
    "(x - 0.5) / 0.5": (steps(("Sub", 0.5), ("Div", 0.5)), UNIT),
    "(x - mean) / std of ImageNet": (steps(("Sub", MEAN), ("Div", STD)), UNIT),
    "(x - 0.1307) / 0.3081": (steps(("Sub", 0.1307), ("Div", 0.3081)), UNIT),
    "minus a mean in 0 to 1": (steps(("Sub", [0.49, 0.48, 0.45])), UNIT),
    "255x - mean": (steps(("Mul", 255.0), ("Sub", [123.7, 116.8, 103.9])), UNIT),
    "BatchNormalization on 0 to 1": (batch_norm([0.47, 0.45, 0.4], [0.27, 0.27, 0.28]), UNIT),
    "(x + 1) / 2": (steps(("Add", 1.0), ("Div", 2.0)), SIGNED),
    "(x + 1) * 127.5 - mean": (steps(("Add", 1.0), ("Mul", 127.5), ("Sub", [123.7, 116.8, 103.9])), SIGNED),
    "(x + 1) / 2, then ImageNet": (steps(("Add", 1.0), ("Div", 2.0), ("Sub", MEAN), ("Div", STD)), SIGNED),
    "nothing": (lambda net, tensor: tensor, IMAGENET),
    "BatchNormalization on ImageNet-normalised data": (batch_norm([0.02, -0.04, 0.1], [1.02, 0.98, 1.05]), IMAGENET),
    "the same, dark": (batch_norm([-0.6, -0.5, -0.4], [0.8, 0.75, 0.9]), IMAGENET),
    "the same, with learned factors": (
        batch_norm([0.0, 0.1, -0.1], [1, 1, 1.1], (0.02, 0.03, 0.02), (1, 2, 3)),
        IMAGENET,
    ),
    "BatchNormalization that was never trained": (batch_norm([0, 0, 0], [1, 1, 1]), IMAGENET),
    "a folded BatchNormalization of such data": (
        steps(("Mul", [1.6, 2.1, 0.9]), ("Add", [-0.2, -0.5, 0.3])),
        IMAGENET,
    ),
    "learned factors near 1": (steps(("Mul", [1.1, 0.9, 1.0]), ("Add", [0.05, -0.1, 0.0])), IMAGENET),
    "Inception's transform_input": (transform_input, IMAGENET),
    "the same in one step": (steps(("Mul", 2 * STD), ("Add", 2 * MEAN - 1)), IMAGENET),
    "channels that disagree": (steps(("Mul", [1 / 255, 1.0, 2.0])), IMAGENET),
}


def preprocessing_of(path):

    return json.loads(session(path).get_modelmeta().custom_metadata_map["camrt.preprocessing"])


@pytest.mark.input_kind(
    "preprocessing",
    "normalisation inside the graph (MATLAB, Keras, Lambda, BatchNormalization)",
    "ONNX Runtime on the source",
    "equal",
)
@pytest.mark.parametrize("kind", KINDS)
def test_pixels_are_those_that_the_first_steps_expect(kind, tmp_path):
    build, expected = KINDS[kind]
    net = Net()
    source = net.save(tmp_path / "in.onnx", classify(net, build(net, net.input)))
    report = attach(source, tmp_path / "out.onnx")
    chosen = preprocessing_of(tmp_path / "out.onnx")
    for name, value in expected.items():
        np.testing.assert_allclose(chosen[name], value, rtol=1e-6)
    sentences = " ".join(report.assumptions)
    assert ("normalises its input itself" in sentences) == (expected is not IMAGENET)
    assert ("ImageNet's mean and std" in sentences) == (expected is IMAGENET)
    images = random_images(3)
    pixels = (images[..., ::-1] * expected["scale"] - expected["mean"]) / expected["std"]
    logits = run(tmp_path / "out.onnx", images)["logits"]
    data = pixels.transpose(0, 3, 1, 2).astype(np.float32)
    reference = session(source).run(None, {"data": data})[0]
    np.testing.assert_allclose(logits, reference, rtol=0, atol=1e-4 * np.abs(reference).max())


def test_step_behind_a_transpose_is_found_on_the_last_axis(tmp_path):
    """As tf2onnx writes Keras: channels last."""
    net = Net()
    net.input_shape = ["N", 8, 8, 3]
    tensor = steps(("Sub", [123.7, 116.8, 103.9]), ("Div", [58.4, 57.1, 57.4]), axis=3)(net, net.input)
    source = net.save(tmp_path / "in.onnx", classify(net, net.op("Transpose", tensor, perm=[0, 3, 1, 2])))
    attach(source, tmp_path / "out.onnx")
    assert preprocessing_of(tmp_path / "out.onnx")["scale"] == 1.0


@pytest.mark.parametrize(
    ("scale", "zero_point", "expected"),
    [(1.0, 0, BYTES), (1 / 255, 0, UNIT), (2 / 255, 128, SIGNED), (0.0187, 113, IMAGENET)],
)
def test_range_of_the_input_quantizer_decides(scale, zero_point, expected, tmp_path):
    net = Net()
    pair = [net.const(np.array(scale, np.float32)), net.const(np.array(zero_point, np.uint8))]
    tensor = net.op("DequantizeLinear", net.op("QuantizeLinear", net.input, *pair), *pair)
    source = net.save(tmp_path / "in.onnx", classify(net, tensor))
    attach(source, tmp_path / "out.onnx")
    np.testing.assert_allclose(preprocessing_of(tmp_path / "out.onnx")["scale"], expected["scale"], rtol=1e-6)


def test_grey_network_that_divides_by_255_gets_bytes(tmp_path):
    net = Net()
    net.input_shape = ["N", 1, 8, 8]
    maps = net.features(colours=1)
    source = net.save(tmp_path / "in.onnx", net.gemm(net.op("Flatten", net.op("GlobalAveragePool", maps))))
    attach(source, tmp_path / "out.onnx")
    assert preprocessing_of(tmp_path / "out.onnx")["scale"] == 1.0


class Normalised(nn.Module):
    """A network that normalises pixels itself, and one with a trained BatchNorm on its input."""

    def __init__(self, first):
        super().__init__()
        torch.manual_seed(0)
        self.first = first
        self.body = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4))

    def forward(self, x):
        return self.body(self.first(x))


class Divide(nn.Module):
    def forward(self, x):
        return (x / 255 - 0.45) / 0.22


def trained_batch_norm(batch):
    norm = nn.BatchNorm2d(3, momentum=None)
    norm.train()(batch)
    return norm


@pytest.mark.parametrize(("name", "scale"), [("divide", 1.0), ("bytes", 1.0), ("unit", 1 / 255), ("imagenet", 1 / 255)])
def test_torch_module_with_a_normalisation_gets_its_pixels(name, scale, tmp_path):
    """The statistics of a BatchNorm that saw photo-like batches in each range of pixels."""
    generator = torch.Generator().manual_seed(0)
    photos = (torch.rand(16, 3, 4, 4, generator=generator) * 0.8).repeat_interleave(4, 2).repeat_interleave(4, 3)
    mean, std = torch.tensor(MEAN).float().reshape(3, 1, 1), torch.tensor(STD).float().reshape(3, 1, 1)
    first = {
        "divide": Divide(),
        "bytes": trained_batch_norm(photos * 255),
        "unit": trained_batch_norm(photos),
        "imagenet": trained_batch_norm((photos - mean) / std),
    }[name]
    report = from_torch(Normalised(first), tmp_path / "out.onnx", input_size=16)
    chosen = preprocessing_of(tmp_path / "out.onnx")
    assert chosen["scale"] == pytest.approx(scale)
    assert (chosen["mean"] == IMAGENET["mean"]) == (name == "imagenet")
    assert report.verification["torch_error"] < 1e-3


def test_option_decides_against_the_graph(tmp_path):
    net = Net()
    source = net.save(tmp_path / "in.onnx", classify(net, steps(("Div", 255.0))(net, net.input)))
    report = attach(source, tmp_path / "out.onnx", scale=1 / 255, mean=MEAN.tolist(), std=STD.tolist())
    assert preprocessing_of(tmp_path / "out.onnx") == {"channels": "rgb", **IMAGENET}
    assert not any("itself" in sentence for sentence in report.assumptions)


def test_metadata_that_contradict_the_graph_are_refused(tmp_path):
    net = Net()
    model = net.model(classify(net, steps(("Div", 255.0))(net, net.input)))
    onnx.helper.set_model_props(model, {"Image.NominalPixelRange": "Normalized_0_1"})
    onnx.save(model, tmp_path / "in.onnx")
    with pytest.raises(
        UsageError, match=r"image metadata: pixels / 255; but the graph normalises its input itself .*0 to 255.*--scale"
    ):
        attach(tmp_path / "in.onnx", tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()
    attach(tmp_path / "in.onnx", tmp_path / "out.onnx", scale=1.0)
    assert preprocessing_of(tmp_path / "out.onnx") == {"channels": "rgb", **BYTES}


@pytest.mark.parametrize(
    "name", ["mobilenet_v1_0.25_128", "mobilenetv2_torchvision_qdq_int8", "resnet8_large_cifar10", "squeezenet11_caffe"]
)
def test_published_networks_without_own_normalisation_have_none(name, shared_data):
    graph, network_input = load_graph(onnx.load(shared_data / "models" / f"{name}.onnx"), None)
    assert find_own_normalisation(graph, network_input) is None


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.input_kind("preprocessing", "Rescaling, Normalization, BatchNormalization of Keras", "Keras", "equal")
@pytest.mark.parametrize("name", ["Rescaling", "Normalization", "BatchNormalization"])
def test_pixels_of_a_keras_network_give_its_scores(name, tmp_path):
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    keras.utils.set_random_seed(0)
    first = {
        "Rescaling": lambda: keras.layers.Rescaling(1 / 127.5, offset=-1),
        "Normalization": lambda: keras.layers.Normalization(mean=[120, 110, 100], variance=[4000, 4100, 4200]),
        "BatchNormalization": keras.layers.BatchNormalization,
    }[name]()
    rest = [
        keras.layers.Conv2D(6, 3, activation="relu"),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(4, activation="softmax"),
    ]
    network = keras.Sequential([keras.Input((16, 16, 3)), first, *rest])
    if name == "BatchNormalization":
        first.moving_mean.assign([120, 110, 100])
        first.moving_variance.assign([4000, 4100, 4200])
    network(np.zeros((1, 16, 16, 3), np.float32))
    with contextlib.redirect_stdout(None), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras calls a deprecated exporter of torch
        network.export(tmp_path / "in.onnx", format="onnx", verbose=False)
    attach(tmp_path / "in.onnx", tmp_path / "out.onnx")
    images = random_images(3, 16, 16)
    expected = network(images[..., ::-1].astype(np.float32)).detach().cpu().numpy()
    np.testing.assert_allclose(run(tmp_path / "out.onnx", images)["scores"], expected, atol=1e-5)
