"""The model of the runtime's tests."""

import pytest

import camrt
from support.tiny_models import write_linear, write_two_heads


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """Four classes, a linear head on maps of 8x8. It runs on the CPU, so that results are equal on every machine."""
    return camrt.load(write_linear(tmp_path_factory.mktemp("model") / "model.onnx"), provider="cpu")


@pytest.fixture(scope="session")
def two_heads(tmp_path_factory):
    """The first of two heads on one backbone, "kind" with four classes; the other is "size" with three."""
    return camrt.load(write_two_heads(tmp_path_factory.mktemp("heads") / "model.onnx"), provider="cpu")
