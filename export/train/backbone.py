"""Make the network to train by name: convolutions, a global average pool and one linear layer."""

import importlib
import warnings
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from camrt.errors import ExportError, MissingExtra, UsageError
from camrt.export.checkpoint import read_weights
from camrt.export.error_text import first_line
from camrt.export.load_module import load_module
from camrt.export.train.gap_cnn import GapCnn, to_gap_cnn
from camrt.export.train.small_backbone import WIDTHS, small_backbone

LIBRARIES: Final = ("torchvision", "timm")


def make_network(
    backbone: str, classes: int, size: int, *, weights: Path | None = None, download: bool = False
) -> tuple[GapCnn, tuple[str, ...]]:
    """Return a network with a new linear layer, and remarks about its weights.

    Args:
        backbone: one of `WIDTHS`; ``torchvision:NAME`` or ``timm:NAME``; or ``package.module:FACTORY``, which returns
            a classifier or the convolutions of one.
        classes: number of classes K.
        size: side of the input in pixels.
        weights: a file of weights of the whole network as its library makes it, or ``best.pt`` of a training with the
            same backbone; None: random ones. Nothing is downloaded.
        download: let the library download its weights.

    Raises:
        UsageError: the backbone is unknown.
        ExportError: the weights do not fit, or the network has no maps.
        MissingExtra: the library is not installed, or does not work.
    """
    if weights is not None and download:
        raise UsageError("--weights and --download exclude each other: weights come from the file or from the network")
    library, colon, name = backbone.partition(":")
    remarks: tuple[str, ...] = ()
    if backbone in WIDTHS:
        if download:
            raise UsageError(f"{backbone} has no published weights to download; leave --download out")
        features, channels = small_backbone(backbone, size)
        network = GapCnn(features, channels, classes)
        if weights is not None:
            found = read_weights(weights, network.features)  # the linear layer is of other classes
            network.features.load_state_dict({**network.features.state_dict(), **found.tensors})
    elif library in LIBRARIES:
        module, remarks = _library_network(library, name, weights, download=download)
        if library == "timm":
            network = _on_maps(_TimmMaps(module), classes, size)
        else:
            _check_convolutional(module, backbone)
            network = to_gap_cnn(module, classes)
    elif colon:
        if download:
            raise UsageError(f"camrt cannot download weights of {backbone}; leave --download out")
        module, remarks = load_module(backbone, weights)
        network = _own_network(module, classes, size)
    else:
        raise UsageError(
            f"backbone {backbone!r} is unknown; name one of {', '.join(WIDTHS)}, torchvision:NAME, timm:NAME, or "
            "package.module:FACTORY"
        )
    _check_runs(network, backbone, classes, size)
    return network, remarks


def _library_network(
    library: str, name: str, weights: Path | None, *, download: bool
) -> tuple[nn.Module, tuple[str, ...]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # their own deprecated calls
            package: Any = importlib.import_module("torchvision.models" if library == "torchvision" else "timm")
    except (ImportError, RuntimeError) as error:  # RuntimeError: a build for another torch
        raise MissingExtra(
            f"{library} cannot be imported with torch {torch.__version__} ({first_line(error)}): pip install a "
            f"{library} that fits it"
        ) from error
    known = package.list_models()
    if name not in known:
        similar = [other for other in known if name and other.startswith(name[:4])][:5]
        advice = f"; similar: {', '.join(similar)}" if similar else ""
        raise UsageError(f"{library} has no network {name!r}{advice}")
    try:
        if library == "torchvision":
            module = package.get_model(name, weights="DEFAULT" if download else None)
        else:
            module = package.create_model(name, pretrained=download)
    except (RuntimeError, ValueError, TypeError, OSError) as error:
        raise ExportError(f"{library} cannot make {name}: {first_line(error)}") from error
    if weights is None:
        return module, ()
    found = read_weights(weights, module)
    module.load_state_dict({**module.state_dict(), **found.tensors})
    return module, found.remarks


class _TimmMaps(nn.Module):
    """The part of timm's network before its pool; some have layers behind it that are no linear classifier."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        module.reset_classifier(0, "")
        self.module = module

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return maps (N, C, h, w) of images (N, 3, H, W)."""
        maps: torch.Tensor = self.module.forward_features(images)
        return maps


def _check_convolutional(module: nn.Module, backbone: str) -> None:
    """Raise UsageError for a transformer: its only convolution cuts patches, and would be all that is left of it."""
    if any("attention" in type(part).__name__.lower() for part in module.modules()):
        raise UsageError(f"{backbone} is a transformer, whose last maps are no convolutions'; take a convolutional one")


def _own_network(module: nn.Module, classes: int, size: int) -> GapCnn:
    """Return a user's network, which gives maps, or logits of a head that is replaced."""
    return _on_maps(module, classes, size) if _output(module, size).ndim == 4 else to_gap_cnn(module, classes)


def _on_maps(module: nn.Module, classes: int, size: int) -> GapCnn:
    maps = _output(module, size)
    if maps.ndim != 4:
        raise ExportError(
            f"{type(module).__name__} gives {tuple(maps.shape)} instead of maps (N, C, h, w); take a convolutional "
            "network"
        )
    return GapCnn(module, maps.shape[1], classes)


def _output(module: nn.Module, size: int) -> torch.Tensor:
    training = module.training
    try:
        with torch.no_grad():
            output = module.eval()(torch.zeros(1, 3, size, size))
    except (RuntimeError, ValueError, TypeError) as error:
        raise ExportError(
            f"{type(module).__name__} cannot run on an image of {size}x{size}: {first_line(error)}"
        ) from error
    finally:
        module.train(training)
    if not isinstance(output, torch.Tensor):
        raise ExportError(f"{type(module).__name__} gives a {type(output).__name__}, not one tensor")
    return output


def _check_runs(network: GapCnn, backbone: str, classes: int, size: int) -> None:
    """Raise ExportError unless the network gives logits and maps of more than one cell."""
    maps = _output(network.features, size)
    if maps.ndim != 4 or max(maps.shape[2:]) < 2:
        raise ExportError(
            f"{backbone} has maps of {'x'.join(map(str, maps.shape[2:]))} cells at {size} pixels, which show no place; "
            "take a larger --size"
        )
    logits = _output(network, size)
    if logits.shape != (1, classes):
        raise ExportError(f"{backbone} gives {tuple(logits.shape)} instead of (1, {classes}) logits")
