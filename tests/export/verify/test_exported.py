"""The verification refuses a model file that is not what it should be, and nothing is written."""

import numpy as np
import pytest

import camrt
from camrt.errors import ExportError
from camrt.export import attach
from camrt.export.verify.checks import HALF_TOLERANCE
from camrt.runtime.inference.cam_identity import check_identity
from support.export_graphs import PLAIN, Net, random_images


def test_head_that_only_looks_linear_fails_the_identity(tmp_path):
    """Reshape and Transpose usually keep the channels in order; here they shuffle them, and only a run shows it."""
    net = Net()
    pairs = net.op("Reshape", net.pooled(6), net.const(np.array([-1, 2, 3], np.int64)))
    shuffled = net.op("Reshape", net.op("Transpose", pairs, perm=[0, 2, 1]), net.const(np.array([-1, 6], np.int64)))
    source = net.save(tmp_path / "in.onnx", net.gemm(shuffled, channels=6))
    with pytest.raises(ExportError, match="do not add up to the logits"):
        attach(source, tmp_path / "out.onnx", **PLAIN)
    assert [file.name for file in tmp_path.iterdir()] == ["in.onnx"]


def test_nan_or_infinite_scores_are_refused(tmp_path):
    net = Net()
    huge = net.op("Mul", net.features(), net.const(np.float32(3e38)))
    maps = net.op("Mul", huge, net.const(np.float32(1e5)))
    source = net.save(tmp_path / "in.onnx", net.gemm(net.op("Flatten", net.op("GlobalAveragePool", maps))))
    with pytest.raises(ExportError, match="holds NaN or infinite"):
        attach(source, tmp_path / "out.onnx", **PLAIN)


def test_graph_that_fails_on_a_batch_is_refused_with_its_node(tmp_path):
    net = Net(batch=1)
    maps = net.squeeze(net.squeeze(net.features(), [0]), [0], "Unsqueeze")
    source = net.save(tmp_path / "in.onnx", net.gemm(net.op("Flatten", net.op("GlobalAveragePool", maps))))
    with pytest.raises(ExportError, match=r"batch of 2.*the_squeeze.*batch size.*len\(x\)"):
        attach(source, tmp_path / "out.onnx", **PLAIN)
    assert not (tmp_path / "out.onnx").exists()


def test_graph_that_mixes_a_batch_is_refused(tmp_path):
    net = Net(batch=1)
    largest = net.op("ReduceMax", net.features(), axes=[0], keepdims=1)
    maps = net.op("Add", net.features(), largest)
    source = net.save(tmp_path / "in.onnx", net.gemm(net.op("Flatten", net.op("GlobalAveragePool", maps))))
    with pytest.raises(ExportError, match="batch is mixed"):
        attach(source, tmp_path / "out.onnx", **PLAIN)


def test_half_precision_network_keeps_its_tolerance_at_run_time(tmp_path):
    net = Net(dtype=np.float16)
    attach(net.save(tmp_path / "in.onnx", net.gemm(net.pooled())), tmp_path / "out.onnx", **PLAIN)
    model = camrt.load(tmp_path / "out.onnx", provider="cpu")
    check = check_identity(model, model(random_images(1)[0]))
    assert check.tolerance == HALF_TOLERANCE
    assert check.holds
