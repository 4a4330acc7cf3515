"""torchvision's networks: the file computes what torch does, and its maps are those of the libraries that run in torch.

Weights are random and the input is not square, so that nothing is right by symmetry.
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
from support.export_graphs import assert_identity, random_pictures, run, softmax
from support.heads_table import note

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
"""The part of each network that gives the maps which are pooled."""
OPTIONS = {"googlenet": {"aux_logits": False, "init_weights": False}}


@dataclass(frozen=True)
class Case:
    """A network in torch and as a model file, and one picture."""

    network: torch.nn.Module
    in_parts: torch.nn.Module
    """The same network, such that a module gives the maps that are pooled, where hooks reach them."""
    part: str
    """The name of that module."""
    file: object
    picture: np.ndarray
    """uint8 (HEIGHT, WIDTH, 3), BGR."""

    @property
    def input(self):
        return torch.from_numpy(Preprocessing().apply(self.picture[None]))

    def explained(self):
        """The result of the model file, and the classes whose maps are warmest: those have something to compare."""
        result = camrt.load(self.file, provider="cpu")(self.picture)
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
    note("torchvision", name, report)
    assert report.head == ("pooled_class_maps" if name == "squeezenet1_1" else "linear")
    assert report.verification["identity_error"] <= 1e-4
    assert report.verification["features_error"] <= 1e-4
    picture = cv2.resize(random_pictures(1, 10, 8)[0], (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    in_parts = _with_its_relu_as_a_module(network) if name == "densenet121" else network
    return Case(network, in_parts, PARTS[name], file, picture)


def _with_its_relu_as_a_module(densenet):
    """DenseNet's last ReLU is a function, where no hook reaches."""
    parts = {
        "features": densenet.features,
        "relu": torch.nn.ReLU(),
        "pool": torch.nn.AdaptiveAvgPool2d(1),
        "flat": torch.nn.Flatten(),
        "classifier": densenet.classifier,
    }
    return torch.nn.Sequential(OrderedDict(parts)).eval()


def test_the_file_computes_what_torch_does(case):
    pooled = []
    hook = case.in_parts.get_submodule(case.part).register_forward_hook(lambda *call: pooled.append(call[-1].clone()))
    with torch.no_grad():
        logits = case.network(case.input).numpy()
        case.in_parts(case.input)
    hook.remove()
    results = run(case.file, case.picture[None])
    assert_identity(results, 1e-4)
    np.testing.assert_allclose(results["logits"], logits, rtol=0, atol=1e-4 * np.abs(logits).max())
    np.testing.assert_allclose(results["scores"], softmax(logits), rtol=0, atol=1e-4)
    maps, expected = results.get("features", results.get("class_maps")), pooled[-1].numpy()
    np.testing.assert_allclose(maps, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_the_map_is_that_of_torchcam(case):
    """torchcam weighs the same maps with the same weights, so the maps are equal cell by cell, negative ones too.

    SqueezeNet's weights are those of its 1x1 convolution. torchcam leaves out its bias and ReLU, which stand before the
    pool and so belong to the map.
    """
    squeezenet = case.part == "classifier.2"
    part, layer = ("features", "classifier.1") if squeezenet else (case.part, None)  # None: the only linear one
    result, classes = case.explained()
    with CAM(case.in_parts, part, layer) as extractor, torch.no_grad():
        case.in_parts(case.input)
        for class_id in classes:
            theirs = extractor(class_id, normalized=False)[0][0]
            if squeezenet:
                theirs = torch.relu(theirs + case.network.classifier[1].bias[class_id])
            largest = float(theirs.abs().max())
            np.testing.assert_allclose(result.cam(class_id), theirs, rtol=0, atol=1e-4 * largest)


def test_the_heat_is_that_of_grad_cam(case):
    """The gradient of a class's score by a pooled map is its weight over the number of cells (Selvaraju et al. 2017,
    arXiv:1610.02391, section 3): Grad-CAM is the map without its negative part, resized and stretched to [0, 1]."""
    result, classes = case.explained()
    with GradCAM(case.in_parts, [case.in_parts.get_submodule(case.part)]) as grad_cam:
        for class_id in classes:
            theirs = grad_cam(case.input, [ClassifierOutputTarget(class_id)])[0]
            warm = np.maximum(result.cam(class_id), 0)
            assert warm.std() > 0
            ours = cv2.resize(warm, (WIDTH, HEIGHT))
            assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.999
