"""Fixtures of the tests of export."""

import pytest

from support.export_graphs import Net


@pytest.fixture
def classifier(tmp_path):
    """A file with a convolutional classifier that has a linear head."""
    net = Net()
    return net.save(tmp_path / "in.onnx", net.gemm(net.pooled()))
