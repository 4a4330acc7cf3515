"""`from_torch`: the model file computes what the torch module computes."""

import warnings

import numpy as np
import PIL.Image
import pytest
import torch
from torch import nn

from camrt.errors import ExportError, UsageError
from camrt.export import attach, from_torch
from camrt.export.graph.preprocessing import Preprocessing
from support.export_graphs import assert_identity, random_images, run

SIZE = 16


class GapNet(nn.Module):
    """Convolutions with batch norm and dropout, GAP, linear."""

    def __init__(self, classes=4):
        super().__init__()
        torch.manual_seed(classes)
        self.convolutions = nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 5, 3, padding=1)
        )
        self.dropout = nn.Dropout(0.5)
        self.classifier = nn.Linear(5, classes)

    def forward(self, x):
        return self.classifier(self.dropout(torch.relu(self.convolutions(x)).mean((2, 3))))


class Nin(nn.Module):
    """Network in network: the last convolution has one map for each class."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 1), nn.AdaptiveAvgPool2d(1))

    def forward(self, x):
        return self.layers(x).flatten(1)


class TwoHeads(GapNet):
    def forward(self, x):
        pooled = torch.relu(self.convolutions(x)).mean((2, 3))
        return {"embedding": pooled, "logits": self.classifier(pooled)}


class Mlp(GapNet):
    def __init__(self):
        super().__init__()
        self.classifier = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 4))


def torch_logits(module, images):
    """Return the module's logits in evaluation mode."""
    module.eval()
    with torch.no_grad():
        return module(torch.from_numpy(Preprocessing().apply(images))).numpy()


@pytest.mark.parametrize("factory", [GapNet, Nin])
def test_file_computes_what_the_module_computes(factory, tmp_path):
    module = factory()
    report = from_torch(module, tmp_path / "out.onnx", input_size=SIZE, labels=list("abcd"))
    images = random_images(3, SIZE, SIZE)
    results = run(tmp_path / "out.onnx", images)
    assert_identity(results)
    np.testing.assert_allclose(results["logits"], torch_logits(module, images), atol=1e-5)
    assert report.head == ("linear" if factory is GapNet else "pooled_class_maps")
    assert report.verification["features_error"] <= 1e-4
    assert report.verification["torch_error"] <= 1e-4


def test_module_keeps_its_modes(tmp_path):
    module = GapNet().train()
    module.convolutions[1].eval()
    from_torch(module, tmp_path / "out.onnx", input_size=SIZE)
    assert [part.training for part in module.modules()] == [True, True, True, False, True, True, True, True]
    with pytest.raises(ExportError):
        from_torch(Failing(module), tmp_path / "failed.onnx", input_size=SIZE)
    assert module.training


class Failing(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x).reshape(7, 7)


def test_export_prints_and_warns_nothing(tmp_path, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_torch(GapNet(), tmp_path / "out.onnx", input_size=SIZE)
    assert capfd.readouterr() == ("", "")


def test_input_size_is_width_then_height(tmp_path):
    assert from_torch(GapNet(), tmp_path / "out.onnx", input_size=(24, 16)).features == (5, 8, 12)


def test_output_with_the_head_is_compared_with_torch(tmp_path):
    module = TwoHeads()
    report = from_torch(module, tmp_path / "out.onnx", input_size=SIZE)
    assert report.classes == 4
    assert report.verification["torch_error"] <= 1e-4


def test_half_precision_module_is_exported(tmp_path):
    from_torch(GapNet().half(), tmp_path / "out.onnx", input_size=SIZE)
    assert_identity(run(tmp_path / "out.onnx", random_images(2, SIZE, SIZE)), 5e-3)


def test_nonlinear_head_is_evaluated_per_cell(tmp_path):
    report = from_torch(Mlp(), tmp_path / "out.onnx", input_size=SIZE)
    assert report.head == "per_position"
    assert report.verification["cells_error"] <= 1e-4
    assert report.verification["torch_error"] <= 1e-4


@pytest.mark.parametrize(
    ("module", "message"),
    [(nn.Linear(7, 2), "Linear cannot run on a 2x3x16x16 tensor"), (Failing(GapNet()), "Failing cannot run")],
)
def test_module_that_takes_no_images_is_refused(module, message, tmp_path):
    with pytest.raises(ExportError, match=message):
        from_torch(module, tmp_path / "out.onnx", input_size=SIZE)


def test_nan_weights_are_refused(tmp_path):
    module = GapNet()
    with torch.no_grad():
        module.classifier.weight[0, 0] = float("nan")
    with pytest.raises(ExportError, match=r"GapNet: weights 'classifier.weight' hold 1 NaN"):
        from_torch(module, tmp_path / "out.onnx", input_size=SIZE)


class AnyInput(nn.Module):
    """A network for one layout, number of channels and type."""

    def __init__(self, channels=3, *, last=False, as_bytes=False):
        super().__init__()
        torch.manual_seed(channels)
        self.last, self.as_bytes = last, as_bytes
        self.conv, self.fc = nn.Conv2d(channels, 5, 3, padding=1, stride=2), nn.Linear(5, 4)

    def forward(self, x):
        if self.as_bytes:
            x = x.float() / 255
        if self.last:
            x = x.permute(0, 3, 1, 2)
        return self.fc(torch.relu(self.conv(x)).mean((2, 3)))


@pytest.mark.parametrize("as_bytes", [False, True])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.input_kind(
    "model", "torch module: grey, RGBA, channels last or bytes", "torch", "equal logits; found by trying"
)
def test_module_gets_the_input_that_it_takes(channels, last, as_bytes, tmp_path):
    module = AnyInput(channels, last=last, as_bytes=as_bytes)
    scale = {} if as_bytes else {"scale": 1.0, "mean": (0.0,) * channels, "std": (1.0,) * channels}
    report = from_torch(module, tmp_path / "out.onnx", input_size=(12, 10), takes_bytes=as_bytes, **scale)
    assert report.head == "linear"
    images = random_images(3, 12, 10)
    if channels == 1:
        pixels = np.stack([np.asarray(PIL.Image.fromarray(image[..., ::-1]).convert("L")) for image in images])[
            ..., None
        ]
    else:
        pixels = np.concatenate([images[..., ::-1], np.full_like(images[..., :1], 255)], axis=-1)[..., :channels]
    data = torch.from_numpy(np.ascontiguousarray(pixels if last else pixels.transpose(0, 3, 1, 2)))
    with torch.no_grad():
        expected = module(data if as_bytes else data.float()).numpy()
    results = run(tmp_path / "out.onnx", images)
    np.testing.assert_allclose(results["logits"], expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert_identity(results)


class BytesOnly(AnyInput):
    def forward(self, x):
        if x.dtype != torch.uint8:
            raise TypeError("bytes, please")
        return super().forward(x)


def test_module_that_refuses_floats_gets_bytes(tmp_path):
    report = from_torch(BytesOnly(as_bytes=True), tmp_path / "out.onnx", input_size=12)
    assert not any("ImageNet" in sentence for sentence in report.assumptions)


@pytest.mark.input_kind("model", "torch module that reads len(x)", "torch", "equal logits")
def test_batch_size_as_a_python_number_is_replaced(tmp_path):
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.body, self.head = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 4)
            self.token = nn.Parameter(torch.randn(1, 1, 8))

        def forward(self, x):
            tokens = self.body(x).flatten(2).transpose(1, 2)
            return self.head(torch.cat([self.token.expand(len(x), -1, -1), tokens], 1).mean(1))

    module = Tokens()
    from_torch(module, tmp_path / "out.onnx", input_size=SIZE)
    for images in (random_images(3, SIZE, SIZE), random_images(1, SIZE, SIZE)):
        expected = torch_logits(module, images)
        np.testing.assert_allclose(run(tmp_path / "out.onnx", images)["logits"], expected, atol=1e-5)


@pytest.mark.parametrize("wrong", [0, (0, 16)])
def test_empty_input_size_is_refused(wrong, tmp_path):
    with pytest.raises(UsageError, match="empty"):
        from_torch(GapNet(), tmp_path / "out.onnx", input_size=wrong)


@pytest.mark.parametrize("dynamic", [True, False])
@pytest.mark.parametrize("opset", [9, 13, 18])
@pytest.mark.parametrize("factory", [GapNet, Nin])
def test_file_of_the_older_exporter_is_attached(factory, opset, dynamic, tmp_path):
    module = factory().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated; its files will be in use for long
        torch.onnx.export(
            module,
            (torch.rand(1, 3, SIZE, SIZE),),
            str(tmp_path / "in.onnx"),
            dynamo=False,
            opset_version=opset,
            dynamic_axes={"x": {0: "batch"}} if dynamic else None,
            input_names=["x"],
        )
    attach(tmp_path / "in.onnx", tmp_path / "out.onnx")
    images = random_images(3, SIZE, SIZE)
    results = run(tmp_path / "out.onnx", images)
    np.testing.assert_allclose(results["logits"], torch_logits(module, images), atol=1e-5)
    assert_identity(results)
