"""Real classifiers, made into model files once by the command line itself."""

import ctypes
import json

import pytest

from support.command import succeeds
from support.wheels import new_environment

# File of the classifier, and the flags that its .json asks for.
_FLAGS = {
    "mobilenet_v1_0.25_128": ["--scale", "1", "--mean", "127.5,127.5,127.5", "--std", "127.5,127.5,127.5"],
    "squeezenet11_caffe": ["--bgr", "--scale", "1", "--mean", "104,117,123", "--std", "1,1,1"],
}


def _attach(name, shared_data, folder):
    models = shared_data / "models"
    labels = shared_data / "labels" / json.loads((models / f"{name}.json").read_text())["labels"]
    target = folder / f"{name}.onnx"
    succeeds("attach", models / target.name, "-o", target, "--labels", labels, *_FLAGS[name])
    return target


@pytest.fixture(scope="session")
def mobilenet(shared_data, tmp_path_factory):
    """1001 classes, maps of 4x4: the quick one."""
    return _attach("mobilenet_v1_0.25_128", shared_data, tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def squeezenet(shared_data, tmp_path_factory):
    """1000 classes, maps of 14x14 without their padding: the exact one."""
    return _attach("squeezenet11_caffe", shared_data, tmp_path_factory.mktemp("models"))


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
    """Python of an environment that has camrt without any extra, and so without ONNX Runtime; not to be changed."""
    return new_environment(tmp_path_factory.mktemp("bare") / "venv")


@pytest.fixture
def no_nvidia():
    """Skip where there is an NVIDIA driver."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return
    pytest.skip("this machine has an NVIDIA driver")
