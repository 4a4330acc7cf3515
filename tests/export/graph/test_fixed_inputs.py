"""Inputs besides the image that get a constant: the file computes what the classifier computes with that value."""

import re

import numpy as np
import onnx
import pytest

from camrt.cli import main
from camrt.errors import UsageError
from camrt.export import attach
from camrt.model_file import ModelInfo
from support.export_graphs import CHANNELS, PLAIN, Net, assert_identity, random_images, run, session


def network_with_gains(tmp_path, shape, kind=onnx.TensorProto.FLOAT):
    """A classifier whose second input is multiplied with its pooled numbers."""
    net = Net()
    gains = net.cast("gains") if kind != onnx.TensorProto.FLOAT else "gains"
    model = net.model(net.gemm(net.op("Mul", net.pooled(), gains)))
    model.graph.input.append(onnx.helper.make_tensor_value_info("gains", kind, shape))
    onnx.save(model, tmp_path / "in.onnx")
    return tmp_path / "in.onnx"


def expected_logits(source, images, gains):
    data = images.transpose(0, 3, 1, 2).astype(np.float32)
    return session(source).run(None, {"data": data, "gains": gains})[0]


@pytest.mark.parametrize("form", ["number", "array", "text", "file"])
@pytest.mark.input_kind("model", "a second input (--fix)", "ONNX Runtime with this value", "equal logits")
def test_fixed_input_has_its_value(form, tmp_path):
    source = network_with_gains(tmp_path, ["N", CHANNELS])
    gains = np.arange(1, CHANNELS + 1, dtype=np.float32)[None]
    if form in ("number", "text"):
        gains = np.full_like(gains, 2.5)
    np.save(tmp_path / "gains.npy", gains)
    value = {"number": 2.5, "text": "2.5", "array": gains, "file": tmp_path / "gains.npy"}[form]
    report = attach(source, tmp_path / "out.onnx", fix={"gains": value}, **PLAIN)
    results = run(tmp_path / "out.onnx", random_images(3))
    np.testing.assert_allclose(
        results["logits"], expected_logits(source, random_images(3), np.repeat(gains, 3, 0)), atol=1e-5
    )
    assert report.head == "linear"
    assert_identity(results)
    metadata = session(tmp_path / "out.onnx").get_modelmeta().custom_metadata_map
    assert "'gains'" in ModelInfo.from_metadata(metadata).source["fixed"]
    assert any("'gains'" in sentence for sentence in report.remarks)


@pytest.mark.parametrize(
    ("name", "value", "kind", "message"),
    [
        ("gain", 1, 1, "no input 'gain'.*its inputs are: data, gains"),
        ("gains", "loud", 1, "'loud', is neither a number, true, false nor a .npy file"),
        ("gains", "nowhere.npy", 1, "no readable .npy file"),
        ("gains", np.zeros((1, 3)), 1, r"shape \[\?, 5\], and its value \[1, 3\]"),
        ("gains", 0.5, onnx.TensorProto.INT64, "takes int64 numbers"),
        ("gains", 2, onnx.TensorProto.BOOL, "takes bool numbers"),
    ],
)
def test_value_that_does_not_fit_is_refused(name, value, kind, message, tmp_path):
    source = network_with_gains(tmp_path, ["N", CHANNELS], kind)
    with pytest.raises(UsageError, match=message):
        attach(source, tmp_path / "out.onnx", fix={name: value})
    assert not (tmp_path / "out.onnx").exists()


def test_command_fixes_an_input(tmp_path, capsys):
    source = network_with_gains(tmp_path, [], onnx.TensorProto.BOOL)
    words = ["attach", str(source), "-o", str(tmp_path / "out.onnx"), "--fix", "gains=true"]
    assert main(words) == 0
    assert "Input 'gains', [], is fixed to True" in capsys.readouterr().out
    assert main(["inspect", str(source), "--fix", "gains=1"]) == 0
    assert re.search(r"head +linear", capsys.readouterr().out)
    with pytest.raises(SystemExit):
        main([*words[:-1], "gains"])
