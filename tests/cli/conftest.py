"""Fixtures: model files of real classifiers, made by the command line, and environments of other wheels."""

import ctypes
import json
from pathlib import Path

import pytest

from support.command import succeeds
from support.once import made_once
from support.wheels import new_environment

# The classifier's name, and the flags for the preprocessing that its .json states. Caffe resized with OpenCV.
_FLAGS = {
    "mobilenet_v1_0.25_128": ["--scale", "1", "--mean", "127.5,127.5,127.5", "--std", "127.5,127.5,127.5"],
    "squeezenet11_caffe": [
        *("--bgr", "--scale", "1", "--mean", "104,117,123", "--std", "1,1,1", "--interpolation", "linear"),
    ],
}


def _attached(name, shared_data, tmp_path_factory):
    models = shared_data / "models"
    labels = shared_data / "labels" / json.loads((models / f"{name}.json").read_text())["labels"]

    def attach(path):
        succeeds("attach", models / path.name, "-o", path, "--labels", labels, *_FLAGS[name])

    return made_once(tmp_path_factory, f"{name}.onnx", attach)


@pytest.fixture(scope="session")
def mobilenet(shared_data, tmp_path_factory):
    """The faster model: 1001 classes, maps of 4x4."""
    return _attached("mobilenet_v1_0.25_128", shared_data, tmp_path_factory)


@pytest.fixture(scope="session")
def squeezenet(shared_data, tmp_path_factory):
    """The more accurate model: 1000 classes, maps of 14x14 without their padding."""
    return _attached("squeezenet11_caffe", shared_data, tmp_path_factory)


@pytest.fixture
def photo(shared_data):
    """A West Highland white terrier, 500x375 or so."""
    return shared_data / "images_cls" / "n02098286_West_Highland_white_terrier.JPEG"


@pytest.fixture
def dog_video(shared_data):
    """336 frames of 1280x720: a puppy that sits, and walks off to the right at the end."""
    return shared_data / "videos" / "oc_dog.mp4"


@pytest.fixture(scope="session")
def bare_environment(tmp_path_factory):
    """Python of an environment that has camrt without extras, so without ONNX Runtime. Tests do not change it."""
    return new_environment(tmp_path_factory.mktemp("bare") / "venv")


@pytest.fixture
def no_nvidia():
    """Skip a test on a machine with an NVIDIA driver."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return
    pytest.skip("this machine has an NVIDIA driver")


@pytest.fixture
def no_gpu(no_nvidia):
    """Skip a test on a machine with a GPU of any maker."""
    if any(Path("/dev/dri").glob("render*")):
        pytest.skip("this machine has a GPU")
