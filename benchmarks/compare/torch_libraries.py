"""torchvision's networks, and the two libraries that one would draw class activation maps with in torch.

Needs the extra ``bench``. torchvision's import wants C++ operators that only its detectors use; where its build does
not fit torch's, declaring them is enough.
"""

import sys
import warnings

import torch

try:
    import torchvision  # noqa: F401
except RuntimeError:
    for _name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[_name]
    _operators = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call] # kept, or they go
    for _name in ("nms", "qnms"):
        _signature = f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        _operators.define(_signature)  # type: ignore[no-untyped-call]

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of their own making
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.image import show_cam_on_image
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    from torchcam.methods import CAM
    from torchcam.utils import overlay_mask
    from torchvision import models

__all__ = ["CAM", "ClassifierOutputTarget", "GradCAM", "models", "overlay_mask", "settled", "show_cam_on_image"]


def settled(network: torch.nn.Module, pictures: torch.Tensor) -> torch.nn.Module:
    """Give a network with random weights the batch statistics of pictures, as training would.

    Without, numbers vanish or explode on the way through it, and torch itself loses four of its seven digits.

    Args:
        network: changed in place.
        pictures: (N, 3, H, W), several and not alike.

    Returns: the network, in evaluation mode.
    """
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = None  # the statistics are those of the one batch
    with torch.no_grad():
        network.train()(pictures)
    return network.eval()
