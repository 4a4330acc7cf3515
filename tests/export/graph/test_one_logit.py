"""One logit: two classes, whose scores are 1 - p and p and whose maps are each other's negative."""

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import camrt
from camrt.errors import ExportError, UsageError
from camrt.export import attach, from_torch
from support.export_graphs import CHANNELS, PLAIN, Net, assert_identity, expected_output, random_images, run

LABELS = ["cat", "dog"]


def logit(net):
    """A linear head with one class."""
    return net.gemm(net.pooled(), classes=1)


def pooled_map(net):
    """A 1x1 convolution with one map, pooled."""
    maps = net.op("Conv", net.features(), net.weights(1, CHANNELS, 1, 1))
    return net.op("Flatten", net.op("GlobalAveragePool", maps))


def hidden_layer(net):
    """A head that is evaluated for each cell."""
    return net.gemm(net.op("Relu", net.gemm(net.pooled(), classes=6)), 6, 1)


def flattened(net):
    """A head that mixes cells."""
    hidden = net.op("Relu", net.gemm(net.op("Flatten", net.features()), CHANNELS * 16, 6))
    return net.gemm(hidden, 6, 1)


HEADS = {"linear": logit, "pooled": pooled_map, "per_position": hidden_layer, "masked": flattened}


def save(path, head, *, squeeze=False, sigmoid=False, batch="N"):
    net = Net(batch=batch)
    output = HEADS[head](net)
    if sigmoid:
        output = net.op("Sigmoid", output)
    if squeeze:
        output = net.squeeze(output, [1])
    return net.save(path, output, **{output: [batch] if squeeze else [batch, 1]})


@pytest.mark.input_kind("model", "one logit or its sigmoid, [N, 1] or [N]", "ONNX Runtime on the source", "equal")
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("squeeze", [False, True])
@pytest.mark.parametrize("sigmoid", [False, True])
@pytest.mark.parametrize("batch", ["N", 1])
def test_one_number_gives_both_sides(head, squeeze, sigmoid, batch, tmp_path):
    source = save(tmp_path / "in.onnx", head, squeeze=squeeze, sigmoid=sigmoid, batch=batch)
    report = attach(source, tmp_path / "out.onnx", labels=LABELS, **PLAIN)
    assert (report.classes, report.activation, report.labels) == (2, "sigmoid", ("cat", "dog"))
    images = random_images(4)
    results = run(tmp_path / "out.onnx", images)
    number = expected_output(source, images)[:, 0].astype(np.float64)
    positive = number if sigmoid else 1 / (1 + np.exp(-number))
    np.testing.assert_allclose(results["scores"], np.stack([1 - positive, positive], axis=1), atol=1e-6)
    np.testing.assert_allclose(results["logits"][:, 0], -results["logits"][:, 1], atol=1e-6)
    if report.head in ("linear", "pooled_class_maps"):
        assert_identity(results)
    result = camrt.load(tmp_path / "out.onnx", provider="cpu")(images[0])
    np.testing.assert_allclose(result.cam(0), -result.cam(1), atol=1e-5 * np.abs(result.cam(1)).max())
    assert result.top(1)[0][1] == ("dog" if positive[0] > 0.5 else "cat")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [(None, ("negative", "positive")), (["dog"], ("not dog", "dog")), (["cat", "dog"], ("cat", "dog"))],
)
def test_two_names_come_from_two_labels_one_or_none(labels, expected, tmp_path):
    source = save(tmp_path / "in.onnx", "linear")
    report = attach(source, tmp_path / "out.onnx", labels=labels, **PLAIN)
    assert report.labels == expected
    assert any("assumed to be a logit" in sentence for sentence in report.assumptions)
    assert any("negative and positive" in sentence for sentence in report.assumptions) == (labels is None)
    with pytest.raises(UsageError, match=r"3 labels.*2 classes"):
        attach(source, tmp_path / "other.onnx", labels=["a", "b", "c"], **PLAIN)


def test_softmax_of_one_number_is_refused(tmp_path):
    net = Net()
    output = net.op("Softmax", logit(net), axis=1)
    source = net.save(tmp_path / "in.onnx", output, **{output: ["N", 1]})
    with pytest.raises(ExportError, match="the softmax of one number, which is 1 for every image"):
        attach(source, tmp_path / "out.onnx", **PLAIN)
    with pytest.raises(UsageError, match=r"softmax of one number is always 1.*--activation none"):
        attach(save(tmp_path / "in.onnx", "linear"), tmp_path / "out.onnx", activation="softmax", **PLAIN)


@pytest.mark.input_kind("model", "regression of one number (--activation none)", "ONNX Runtime on the source", "equal")
def test_regression_keeps_its_number(tmp_path):
    source = save(tmp_path / "in.onnx", "linear")
    report = attach(source, tmp_path / "out.onnx", activation="none", labels=["age"], **PLAIN)
    assert (report.classes, report.labels) == (1, ("age",))
    images = random_images(3)
    results = run(tmp_path / "out.onnx", images)
    np.testing.assert_allclose(results["scores"], expected_output(source, images), rtol=1e-4, atol=1e-5)
    assert_identity(results)


def test_output_that_is_named_is_split_and_others_stay(tmp_path):
    net = Net()
    pooled = net.pooled()
    many, one = net.gemm(pooled), net.gemm(pooled, classes=1)
    flat = net.squeeze(net.gemm(pooled, classes=1), [1])
    source = net.save(tmp_path / "in.onnx", many, one, flat, **{one: ["N", 1], flat: ["N"]})
    with pytest.raises(UsageError, match="choose one with --output"):
        attach(source, tmp_path / "out.onnx", **PLAIN)
    for index, (name, classes) in enumerate([(many, 4), (one, 2), (flat, 2)]):
        report = attach(source, tmp_path / "out.onnx", output=name, overwrite=True, **PLAIN)
        assert report.classes == classes
        images = random_images(2)
        logits = run(tmp_path / "out.onnx", images)["logits"]
        expected = expected_output(source, images, index)
        np.testing.assert_allclose(logits[:, -expected.shape[1] :], expected, rtol=1e-4, atol=1e-5)


def test_quantized_head_with_one_logit_is_split(tmp_path):
    net = Net()
    pair = [net.const(np.array(0.02, np.float32)), net.const(np.array(0, np.uint8))]
    pooled = net.op("DequantizeLinear", net.op("QuantizeLinear", net.pooled(), *pair), *pair)
    output = net.gemm(pooled, classes=1)
    source = net.save(tmp_path / "in.onnx", output, **{output: ["N", 1]})
    report = attach(source, tmp_path / "out.onnx", **PLAIN)
    assert (report.head, report.classes) == ("linear", 2)
    assert any("quantized" in sentence for sentence in report.remarks)


class Binary(nn.Module):
    def __init__(self, *, sigmoid, squeeze):
        super().__init__()
        torch.manual_seed(1)
        self.features = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU())
        self.classifier = nn.Linear(5, 1)
        self.sigmoid, self.squeeze = sigmoid, squeeze

    def forward(self, x):
        number = self.classifier(self.features(x).mean((2, 3)))
        number = number.sigmoid() if self.sigmoid else number
        return number.squeeze(1) if self.squeeze else number


@pytest.mark.parametrize("sigmoid", [False, True])
@pytest.mark.parametrize("squeeze", [False, True])
def test_torch_module_with_one_logit_is_compared_with_torch(sigmoid, squeeze, tmp_path):
    module = Binary(sigmoid=sigmoid, squeeze=squeeze)
    report = from_torch(module, tmp_path / "out.onnx", input_size=16, scale=1.0, channels="rgb")
    assert report.classes == 2
    assert report.verification["torch_error"] < 1e-4
    images = random_images(3, 16, 16)
    with torch.no_grad():
        data = torch.from_numpy(images[..., ::-1].copy()).permute(0, 3, 1, 2).float()
        number = module.eval()(data).reshape(-1)
    expected = number if sigmoid else number.sigmoid()
    np.testing.assert_allclose(run(tmp_path / "out.onnx", images)["scores"][:, 1], expected, atol=1e-5)


def test_source_is_not_changed(tmp_path):
    source = save(tmp_path / "in.onnx", "linear")
    before = source.read_bytes()
    attach(source, tmp_path / "out.onnx", **PLAIN)
    assert source.read_bytes() == before
    assert onnx.load(source).graph.output[0].type.tensor_type.shape.dim[1].dim_value == 1
