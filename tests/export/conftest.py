"""What the tests of export share."""

import warnings

import pytest
import torch


@pytest.fixture(scope="session")
def torchvision_models():
    """torchvision's networks. Its import wants C++ operators that only its detectors use; where its build does not fit
    torch's, declaring them is enough."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, operator):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torchvision's own making
        from torchvision import models
    yield models
    del library
