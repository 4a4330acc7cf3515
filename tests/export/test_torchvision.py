"""torchvision's networks: the file computes what torch computes, and its maps equal those of torchcam and Grad-CAM.

Weights are random and the input is not square, so a swapped axis cannot pass.
"""

from collections import OrderedDict
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
import torch

import camrt
from camrt.benchmarks.compare.torch_libraries import CAM, ClassifierOutputTarget, GradCAM, models, set_batch_statistics
from camrt.export import from_torch
from camrt.export.graph.preprocessing import Preprocessing
from camrt.export.graph.synthetic_images import synthetic_images
from support.export_graphs import assert_identity, random_images, run, softmax
from support.heads_table import assert_documented

pytestmark = pytest.mark.slow

WIDTH, HEIGHT = 160, 128
CLASSES = 20
PARTS = {
    "resnet18": "layer4",
    "mobilenet_v2": "features",
    "densenet121": "relu",
    "googlenet": "inception5b",
    "squeezenet1_1": "classifier.2",
    "efficientnet_b0": "features",
    "shufflenet_v2_x1_0": "conv5",
    "mnasnet1_0": "layers",
    "resnext50_32x4d": "layer4",
    "regnet_y_400mf": "trunk_output",
}
"""The part of each network whose output is pooled."""
OPTIONS = {"googlenet": {"aux_logits": False, "init_weights": False}}


@dataclass(frozen=True)
class Case:
    """A network in torch and as a model file, and one image."""

    network: torch.nn.Module
    hookable: torch.nn.Module
    """The same network with a module whose output is pooled, for hooks."""
    part: str
    """The name of that module."""
    file: object
    image: np.ndarray
    """uint8 (HEIGHT, WIDTH, 3), BGR."""

    @property
    def input(self):
        return torch.from_numpy(Preprocessing().apply(self.image[None]))

    def result_and_classes(self):
        """Return the model file's result, and the classes with the warmest maps: the others are nearly constant."""
        result = camrt.load(self.file, provider="cpu")(self.image)
        warmth = [result.cam(class_id).mean() for class_id in range(CLASSES)]
        return result, [int(class_id) for class_id in np.argsort(warmth)[-3:]]


@pytest.fixture(scope="module", params=PARTS)
def case(request, tmp_path_factory):
    name = request.param
    torch.manual_seed(0)
    network = getattr(models, name)(weights=None, num_classes=CLASSES, **OPTIONS.get(name, {}))
    set_batch_statistics(network, torch.from_numpy(Preprocessing().apply(synthetic_images(WIDTH, HEIGHT))))
    file = tmp_path_factory.mktemp(name) / "model.onnx"
    report = from_torch(network, file, input_size=(WIDTH, HEIGHT))
    assert_documented("torchvision", name, report)
    assert report.head == ("pooled_class_maps" if name == "squeezenet1_1" else "linear")
    assert report.verification["identity_error"] <= 1e-4
    assert report.verification["features_error"] <= 1e-4
    image = cv2.resize(random_images(1, 10, 8)[0], (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    hookable = _with_relu_module(network) if name == "densenet121" else network
    return Case(network, hookable, PARTS[name], file, image)


def _with_relu_module(densenet):
    """DenseNet's last ReLU is a function, which no hook reaches."""
    parts = {
        "features": densenet.features,
        "relu": torch.nn.ReLU(),
        "pool": torch.nn.AdaptiveAvgPool2d(1),
        "flat": torch.nn.Flatten(),
        "classifier": densenet.classifier,
    }
    return torch.nn.Sequential(OrderedDict(parts)).eval()


def test_file_computes_what_torch_computes(case):
    pool_inputs = []
    hook = case.hookable.get_submodule(case.part).register_forward_hook(
        lambda *call: pool_inputs.append(call[-1].clone())
    )
    with torch.no_grad():
        logits = case.network(case.input).numpy()
        case.hookable(case.input)
    hook.remove()
    results = run(case.file, case.image[None])
    assert_identity(results, 1e-4)
    np.testing.assert_allclose(results["logits"], logits, rtol=0, atol=1e-4 * np.abs(logits).max())
    np.testing.assert_allclose(results["scores"], softmax(logits), rtol=0, atol=1e-4)
    maps, expected = results.get("features", results.get("class_maps")), pool_inputs[-1].numpy()
    np.testing.assert_allclose(maps, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_map_equals_that_of_torchcam(case):
    """torchcam multiplies the same maps by the same weights, so the maps are equal, negative cells too.

    SqueezeNet's weights are those of its 1x1 convolution. torchcam omits its bias and ReLU, which come before the pool
    and so belong to the map.
    """
    squeezenet = case.part == "classifier.2"
    part, layer = ("features", "classifier.1") if squeezenet else (case.part, None)  # None: the only linear layer
    result, classes = case.result_and_classes()
    with CAM(case.hookable, part, layer) as extractor, torch.no_grad():
        case.hookable(case.input)
        for class_id in classes:
            torchcam_map = extractor(class_id, normalized=False)[0][0]
            if squeezenet:
                torchcam_map = torch.relu(torchcam_map + case.network.classifier[1].bias[class_id])
            largest = float(torchcam_map.abs().max())
            np.testing.assert_allclose(result.cam(class_id), torchcam_map, rtol=0, atol=1e-4 * largest)


def test_positive_part_of_the_map_equals_grad_cam(case):
    """The gradient of a class's score by a pooled map is its weight divided by the number of cells (Selvaraju et al.
    2017, arXiv:1610.02391, section 3). Grad-CAM is the map without its negative part, resized and stretched to [0, 1].
    """
    result, classes = case.result_and_classes()
    with GradCAM(case.hookable, [case.hookable.get_submodule(case.part)]) as grad_cam:
        for class_id in classes:
            expected = grad_cam(case.input, [ClassifierOutputTarget(class_id)])[0]
            warm = np.maximum(result.cam(class_id), 0)
            assert warm.std() > 0
            heat = cv2.resize(warm, (WIDTH, HEIGHT))
            assert np.corrcoef(heat.ravel(), expected.ravel())[0, 1] > 0.999
