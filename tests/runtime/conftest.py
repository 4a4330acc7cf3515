"""The model of the runtime's tests."""

import pytest

import camrt
from support.tiny_models import write_linear


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """Four classes, a linear head on maps of 8x8. It runs on the CPU, so that results are equal on every machine."""
    return camrt.load(write_linear(tmp_path_factory.mktemp("model") / "model.onnx"), provider="cpu")
