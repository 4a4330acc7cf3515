"""`to_gap_cnn`: the convolutions stay, and a pool and one linear layer replace what follows them."""

import copy

import pytest
import torch
from torch import nn

from camrt.benchmarks.compare.torch_libraries import models
from camrt.errors import ExportError, UsageError
from camrt.export import from_torch, to_gap_cnn
from support.export_graphs import assert_identity, random_images, run

SIZE = 64
CLASSES = 3


class SmallVgg(nn.Module):
    """Fully connected layers fix the size of its images."""

    def __init__(self, size=SIZE):
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)),
        )
        self.classifier = nn.Sequential(nn.Linear(6 * (size // 4) ** 2, 8), nn.ReLU(), nn.Linear(8, 10))

    def forward(self, images):
        return self.classifier(self.features(images).flatten(1))


class Branching(SmallVgg):
    def forward(self, images):
        return super().forward(images) if images.sum() > 0 else self.classifier(images)


def maps_of(part, images):
    """Return the output of a part of a network in evaluation mode."""
    with torch.no_grad():
        return copy.deepcopy(part).eval()(images)


def assert_exports(network, folder, features):
    """The network becomes a model file with a linear head and maps of this shape."""
    report = from_torch(network, folder / "model.onnx", input_size=SIZE, labels=list("abc"))
    assert (report.head, report.classes, report.features) == ("linear", CLASSES, features)
    assert_identity(run(folder / "model.onnx", random_images(2, SIZE, SIZE)), 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kept", "channels", "side_at_224", "side"), [("vgg16", 30, 512, 14, 4), ("alexnet", 12, 256, 13, 3)]
)
def test_networks_of_the_paper_lose_their_last_pool_and_fully_connected_layers(
    name, kept, channels, side_at_224, side, tmp_path
):
    torch.manual_seed(0)
    network = getattr(models, name)(weights=None)
    gap = to_gap_cnn(network, CLASSES)
    images = torch.rand(1, 3, 224, 224)
    expected = maps_of(network.features[:kept], images)
    assert expected.shape[1:] == (channels, side_at_224, side_at_224)
    torch.testing.assert_close(maps_of(gap.features, images), expected)
    assert sum(weights.numel() for weights in gap.classifier.parameters()) == CLASSES * (channels + 1)
    assert_exports(gap, tmp_path, (channels, side, side))


def test_network_ends_at_the_named_convolution(tmp_path):
    """After ResNet's conv2 come a norm, the sum with the shortcut and a ReLU, so the maps are those of the block."""
    torch.manual_seed(0)
    network = models.resnet18(weights=None)
    gap = to_gap_cnn(network, CLASSES, last_conv="layer3.1.conv2")
    images = torch.rand(1, 3, SIZE, SIZE)
    block = nn.Sequential(*list(network.children())[:7])  # to layer3
    torch.testing.assert_close(maps_of(gap.features, images), maps_of(block, images))
    assert not any(name.startswith("layer4") for name, _ in gap.features.named_parameters())
    assert_exports(gap, tmp_path, (256, 4, 4))


def test_masked_head_becomes_linear(tmp_path):
    network = SmallVgg()
    assert from_torch(network, tmp_path / "masked.onnx", input_size=SIZE).head == "masked"
    assert_exports(to_gap_cnn(network, CLASSES), tmp_path, (6, 32, 32))


def test_network_for_small_images_prints_nothing(capfd):
    """Its fully connected layers fail on the example image."""
    to_gap_cnn(SmallVgg(32), CLASSES)
    assert capfd.readouterr() == ("", "")


def test_original_network_is_unchanged():
    network = SmallVgg().train()
    before = copy.deepcopy(network.state_dict())
    gap = to_gap_cnn(network, CLASSES)
    assert gap.training
    with torch.no_grad():
        for weights in gap.parameters():
            weights.zero_()
    gap(torch.rand(2, 3, SIZE, SIZE))
    assert network.training
    for name, values in network.state_dict().items():
        torch.testing.assert_close(values, before[name])


def test_new_network_takes_any_size_and_can_be_trained():
    gap = to_gap_cnn(SmallVgg(), CLASSES)
    logits = gap(torch.rand(2, 3, 48, 80))
    assert logits.shape == (2, CLASSES)
    logits.sum().backward()
    assert all(weights.grad.isfinite().all() for weights in gap.parameters())


def test_unknown_convolution_is_refused_with_the_names_of_the_last_ones():
    with pytest.raises(UsageError, match=r"no convolution called 'features.9'.*features\.0, features\.3"):
        to_gap_cnn(SmallVgg(), CLASSES, last_conv="features.9")
    with pytest.raises(UsageError, match=r"no nn\.Conv2d"):
        to_gap_cnn(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), CLASSES)
    with pytest.raises(UsageError, match="at least one class, not 0"):
        to_gap_cnn(SmallVgg(), 0)


def test_network_that_cannot_be_traced_is_refused():
    with pytest.raises(ExportError, match=r"torch\.fx cannot trace Branching"):
        to_gap_cnn(Branching(), CLASSES)
    wrong = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(5, 4, 3))
    with pytest.raises(ExportError, match=r"Sequential cannot run on an image of 224x224: .*5"):
        to_gap_cnn(wrong, CLASSES)
