"""Networks by name: small ones of every size, torchvision's and timm's with local weights, a user's own."""

import sys

import pytest
import torch
from torch import nn

from camrt.benchmarks.compare.torch_libraries import models
from camrt.errors import ExportError, MissingExtra, UsageError
from camrt.export.train.backbone import make_network
from camrt.export.train.small_backbone import WIDTHS, small_backbone

SIZE = 64


def maps_of(network, size=SIZE, images=None):
    with torch.no_grad():
        return network.eval().features(torch.rand(2, 3, size, size) if images is None else images)


@pytest.mark.parametrize("size", [32, 48, 64, 96, 128, 160, 224, 256, 320])
def test_small_backbones_have_8_to_15_cells_a_side(size):
    backbone, channels = small_backbone("gap-xs", size)
    with torch.no_grad():
        maps = backbone.eval()(torch.rand(1, 3, size, size))
    assert maps.shape[1] == channels
    assert maps.shape[2] == maps.shape[3]
    assert 8 <= maps.shape[2] <= 15


@pytest.mark.parametrize("size", [32, 64, 96])
def test_each_cell_of_the_middle_sees_the_whole_input(size):
    """Shapes can only be told apart by cells that see all of them."""
    torch.manual_seed(0)
    backbone, _ = small_backbone("gap-xs", size)
    image = torch.rand(1, 3, size, size, requires_grad=True)
    maps = backbone.eval()(image)
    maps[0, :, maps.shape[2] // 2, maps.shape[3] // 2].sum().backward()
    rows, columns = torch.nonzero(image.grad[0].abs().sum(0), as_tuple=True)
    assert rows.min() <= 1
    assert columns.min() <= 1
    assert rows.max() >= size - 2
    assert columns.max() >= size - 2


def test_wider_names_have_more_weights():
    counts = [sum(weight.numel() for weight in small_backbone(name, 64)[0].parameters()) for name in WIDTHS]
    assert counts == sorted(set(counts))


def test_torchvisions_network_keeps_the_weights_of_a_file(tmp_path):
    torch.manual_seed(1)
    whole = models.resnet18(weights=None)
    torch.save(whole.state_dict(), tmp_path / "resnet18.pth")
    network, _ = make_network("torchvision:resnet18", 3, SIZE, weights=tmp_path / "resnet18.pth")
    images = torch.rand(2, 3, SIZE, SIZE)
    body = nn.Sequential(*list(whole.eval().children())[:-2])
    with torch.no_grad():
        torch.testing.assert_close(maps_of(network, images=images), body(images))
        assert network(images).shape == (2, 3)


def test_a_dense_head_is_replaced():
    """MobileNetV3 has a hidden layer between its pool and its classes, so its maps explain nothing exactly."""
    network, _ = make_network("torchvision:mobilenet_v3_small", 4, SIZE)
    assert isinstance(network.classifier, nn.Linear)
    assert maps_of(network).shape == (2, 576, 2, 2)


def test_timms_network_gives_its_maps():
    timm = pytest.importorskip("timm")
    network, _ = make_network("timm:mobilenetv3_small_050", 4, SIZE)
    reference = timm.create_model("mobilenetv3_small_050", pretrained=False).eval()
    reference.load_state_dict(network.features.module.state_dict(), strict=False)
    images = torch.rand(1, 3, SIZE, SIZE)
    with torch.no_grad():
        torch.testing.assert_close(maps_of(network, images=images), reference.forward_features(images))


def test_weights_come_from_the_librarys_folder_of_downloads(tmp_path, monkeypatch):
    """The file lies where torchvision would store it, so nothing is downloaded."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.manual_seed(2)
    whole = models.squeezenet1_1(weights=None)
    url = models.SqueezeNet1_1_Weights.DEFAULT.url
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(whole.state_dict(), folder / url.rsplit("/", 1)[1])
    network, _ = make_network("torchvision:squeezenet1_1", 2, SIZE, download=True)
    torch.testing.assert_close(network.features.get_parameter("features.0.weight"), whole.features[0].weight)


OWN = """
import torch
from torch import nn

def body():
    return nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU())

def classifier():
    return nn.Sequential(body(), nn.Flatten(), nn.Linear(8 * 16 * 16, 5))

def tokens():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 7))
"""


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    (tmp_path / "own_networks.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    yield "own_networks"
    sys.modules.pop("own_networks", None)


@pytest.mark.parametrize("factory", ["body", "classifier"])
def test_own_networks_may_give_maps_or_have_a_dense_head(own_module, factory):
    network, _ = make_network(f"{own_module}:{factory}", 3, SIZE)
    assert maps_of(network).shape == (2, 8, 16, 16)
    assert network(torch.rand(2, 3, SIZE, SIZE)).shape == (2, 3)


def test_convolutions_of_an_earlier_training_start_another_one(tmp_path):
    torch.manual_seed(3)
    trained, _ = make_network("gap-xs", 5, SIZE)
    torch.save({"network": trained.state_dict(), "classes": list("abcde")}, tmp_path / "best.pt")
    network, _ = make_network("gap-xs", 2, SIZE, weights=tmp_path / "best.pt")
    images = torch.rand(1, 3, SIZE, SIZE)
    torch.testing.assert_close(maps_of(network, images=images), maps_of(trained, images=images))
    assert network.classifier.out_features == 2


@pytest.mark.parametrize(
    ("backbone", "options", "error", "message"),
    [
        ("gap-huge", {}, UsageError, "backbone 'gap-huge' is unknown; name one of gap-xs"),
        ("torchvision:resnet19", {}, UsageError, "torchvision has no network 'resnet19'; similar: resnet"),
        ("gap-xs", {"download": True}, UsageError, "no published weights"),
        ("torchvision:vit_b_16", {"size": 224}, UsageError, "vit_b_16 is a transformer"),
        ("timm:vit_tiny_patch16_224", {"size": 224}, ExportError, "instead of maps"),
        ("torchvision:mobilenet_v2", {"size": 32}, ExportError, "maps of 1x1 cells at 32 pixels.*larger --size"),
    ],
)
def test_networks_that_cannot_be_trained_are_refused(backbone, options, error, message):
    with pytest.raises(error, match=message):
        make_network(backbone, 3, options.pop("size", SIZE), **options)


def test_networks_without_maps_are_refused(own_module):
    with pytest.raises(UsageError, match=r"no nn\.Conv2d"):
        make_network(f"{own_module}:tokens", 3, SIZE)


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(models.squeezenet1_1(weights=None).state_dict(), tmp_path / "other.pth")
    with pytest.raises(ExportError, match=r"other\.pth.*does not fit"):
        make_network("torchvision:resnet18", 3, SIZE, weights=tmp_path / "other.pth")
    with pytest.raises(ExportError, match=r"other\.pth.*does not fit"):
        make_network("gap-xs", 3, SIZE, weights=tmp_path / "other.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(ExportError, match=r"text\.pth"):
        make_network("gap-xs", 3, SIZE, weights=tmp_path / "text.pth")


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtra, match="timm cannot be imported"):
        make_network("timm:resnet18", 3, SIZE)
