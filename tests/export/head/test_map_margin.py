"""Cells that see only padding are counted and cropped, whatever head follows; torch gives the maps without padding."""

import numpy as np
import pytest
import torch
from torch import nn

import camrt
from camrt.errors import HeadNotFound
from camrt.export import attach, from_torch
from support.export_graphs import CHANNELS, PLAIN, Net, assert_identity, random_images, run

SIZE = 16
ACTIVATIONS = {
    "nothing": nn.Identity(),
    "ReLU": nn.ReLU(),
    "ReLU6": nn.ReLU6(),
    "SiLU": nn.SiLU(),
    "batch norm, hardswish": nn.Sequential(nn.BatchNorm2d(4), nn.Hardswish()),
}


class Padded(nn.Module):
    """The maps come from a padded convolution; their border sees no pixel."""

    def __init__(self, maps, activation, head, padding=1, kernel=1):
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.Sequential(nn.Conv2d(3, 5, 3, stride=2, padding=1), nn.ReLU())
        self.padded = nn.Conv2d(5, maps, kernel, padding=padding)
        self.activation, self.head = activation, head

    def maps(self, x):
        return self.activation(self.padded(self.backbone(x)))

    def forward(self, x):
        return self.head(self.maps(x).mean((2, 3)))


def as_input(images):
    return torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32))


def attach_module(module, tmp_path):
    """Return the report of a module's file, its results, and torch's maps, for two images in the network's order."""
    module.eval()
    report = from_torch(module, tmp_path / "out.onnx", input_size=SIZE, **PLAIN)
    images = random_images(2, SIZE, SIZE)
    with torch.inference_mode():
        maps = module.maps(as_input(images)).numpy()
    return report, run(tmp_path / "out.onnx", images), maps


@pytest.mark.input_kind(
    "model", "one logit from a padded 1x1 convolution and GAP", "torch", "exact maps, border cropped"
)
def test_one_padded_map_of_one_logit_has_a_margin(tmp_path):
    report, results, maps = attach_module(Padded(1, nn.Identity(), nn.Identity()), tmp_path)
    assert (report.head, report.classes, report.map_margin) == ("linear", 2, 1)
    assert_identity(results)
    cams = np.einsum("nchw,kc->nkhw", results["features"], results["cam_weights"])
    np.testing.assert_allclose(cams[:, 1], maps[:, 0], rtol=0, atol=1e-5 * np.abs(maps).max())
    model = camrt.load(tmp_path / "out.onnx", provider="cpu")
    result = model(random_images(1, SIZE, SIZE)[0])
    assert result.cam(1).shape == (10, 10)
    assert result.decoder.margin == 1


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_padding_before_the_pool_of_a_linear_layer_has_a_margin(name, tmp_path):
    report, results, maps = attach_module(Padded(4, ACTIVATIONS[name], nn.Linear(4, 3)), tmp_path)
    assert (report.head, report.map_margin) == ("linear", 1)
    assert_identity(results)
    np.testing.assert_allclose(results["features"], maps, rtol=0, atol=1e-5 * np.abs(maps).max())
    ring = np.ones(maps.shape[2:], bool)
    ring[1:-1, 1:-1] = False
    assert np.ptp(maps[:, 0][:, ring]) == 0  # no pixel reaches the margin
    assert np.ptp(maps[:, 0][:, ~ring]) > 0


@pytest.mark.parametrize(("kernel", "padding", "margin"), [(3, 1, 0), (3, 3, 1), (1, 2, 2)])
def test_margin_is_the_padding_that_exceeds_the_kernel(kernel, padding, margin, tmp_path):
    module = Padded(4, nn.ReLU(), nn.Linear(4, 3), padding, kernel)
    assert attach_module(module, tmp_path)[0].map_margin == margin


def test_padding_before_a_head_that_is_evaluated_per_cell_has_a_margin(tmp_path):
    head = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    report, results, _ = attach_module(Padded(4, nn.ReLU(), head), tmp_path)
    assert (report.head, report.map_margin) == ("per_position", 1)
    maps = results["class_maps"]
    assert np.ptp(maps[:, :, 0], axis=2).max() < 1e-5 < np.ptp(maps[:, :, 1], axis=2).min()


def test_sum_with_a_map_that_is_not_padded_has_no_margin(tmp_path):
    """The border of the other map sees the image."""
    net = Net()
    padded = net.op("Conv", net.features(), net.weights(CHANNELS, CHANNELS, 1, 1), pads=[1] * 4)
    whole = net.op("Conv", net.features(), net.weights(CHANNELS, CHANNELS, 3, 3), pads=[2] * 4)
    pooled = net.op("GlobalAveragePool", net.op("Relu", net.op("Add", padded, whole)))
    net.save(tmp_path / "in.onnx", net.gemm(net.op("Flatten", pooled)))
    report = attach(tmp_path / "in.onnx", tmp_path / "out.onnx", **PLAIN)
    assert (report.head, report.features, report.map_margin) == ("linear", (CHANNELS, 6, 6), 0)


def test_uneven_padding_before_a_linear_layer_is_refused(tmp_path):
    net = Net()
    maps = net.op("Conv", net.features(), net.weights(CHANNELS, CHANNELS, 1, 1), pads=[0, 0, 1, 1])
    net.save(tmp_path / "in.onnx", net.gemm(net.op("Flatten", net.op("GlobalAveragePool", net.op("Relu", maps)))))
    with pytest.raises(HeadNotFound, match=r"Conv node.*pads its map.*--layer"):
        attach(tmp_path / "in.onnx", tmp_path / "out.onnx", **PLAIN)
