"""torchvision's networks, and the torch libraries for class activation maps: pytorch-grad-cam and torchcam.

Needs the extra ``bench``. The import of torchvision needs C++ operators that only its detectors use. If its build does
not fit the installed torch, it is enough to declare them.
"""

import sys
import warnings

import torch

try:
    import torchvision  # noqa: F401
except RuntimeError:
    for _name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[_name]
    # The declarations last as long as this object.
    _operators = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for _name in ("nms", "qnms"):
        _signature = f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        _operators.define(_signature)  # type: ignore[no-untyped-call]

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # their own deprecated calls
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.image import show_cam_on_image
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    from torchcam.methods import CAM
    from torchcam.utils import overlay_mask
    from torchvision import models, transforms

__all__ = [
    "CAM",
    "ClassifierOutputTarget",
    "GradCAM",
    "models",
    "overlay_mask",
    "set_batch_statistics",
    "show_cam_on_image",
    "transforms",
]


def set_batch_statistics(network: torch.nn.Module, images: torch.Tensor) -> torch.nn.Module:
    """Set the statistics of batch normalization to those of a batch of images.

    In a network with random weights and default statistics, activations vanish or explode, and torch itself loses four
    of its seven digits.

    Args:
        network: changed in place.
        images: float32 (N, 3, H, W), several different ones.

    Returns: the network, in evaluation mode.
    """
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # cumulative average: here the statistics of the one batch
    with torch.no_grad():
        network.train()(images)
    return network.eval()
