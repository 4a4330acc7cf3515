"""The classifier's input: its shape, size and type."""

import onnx
import pytest

from camrt.errors import ExportError, UsageError
from camrt.export import attach, survey
from support.export_graphs import (
    CHANNELS,
    PLAIN,
    Net,
    assert_identity,
    random_images,
    run,
)


def test_open_input_size_must_be_given(tmp_path):
    net = Net()
    source = net.save(tmp_path / "in.onnx", net.gemm(net.pooled()), size="any")
    with pytest.raises(UsageError, match="--size"):
        attach(source, tmp_path / "out.onnx", **PLAIN)
    report = attach(source, tmp_path / "out.onnx", size=(12, 10), **PLAIN)
    assert report.input == (12, 10)
    assert report.features == (CHANNELS, 5, 6)
    assert_identity(run(tmp_path / "out.onnx", random_images(2, 12, 10)))


@pytest.mark.parametrize(
    ("shape", "kind", "message"),
    [
        (["N", 5, 8, 8], 1, r"\[\?, 5, 8, 8\].*3 channels \(colour\), 1 \(grey\) or 4 \(colour and alpha\)"),
        (["N", 8, 8, 2], 1, r"\[N, H, W, C\]"),
        (["N", 3, 8, 8], 6, "INT32"),
        (["N", 3], 1, r"\[N, C, H, W\]"),
    ],
)
def test_input_that_is_no_image_is_refused(shape, kind, message, tmp_path):
    net = Net()
    model = net.model(net.gemm(net.pooled()))
    model.graph.input[0].CopyFrom(onnx.helper.make_tensor_value_info("data", kind, shape))
    onnx.save(model, tmp_path / "in.onnx")
    with pytest.raises(ExportError, match=message):
        attach(tmp_path / "in.onnx", tmp_path / "out.onnx")


@pytest.mark.parametrize("size", [None, (12, 10)])
@pytest.mark.input_kind("model", "open dimensions written as -1", "ONNX Runtime", "taken as open, with a remark")
def test_dimension_of_minus_one_is_open(size, tmp_path):
    net = Net(batch=-1)
    logits = net.gemm(net.pooled())
    source = net.save(tmp_path / "in.onnx", logits, size=-1 if size else 8, **{logits: [-1, 4]})
    if size:
        with pytest.raises(UsageError, match=r"\[\?, 3, \?, \?\], of any size"):
            attach(source, tmp_path / "out.onnx", **PLAIN)
    report = attach(source, tmp_path / "out.onnx", size=size, **PLAIN)
    assert report.input == (size or (8, 8))
    assert any("-1" in sentence for sentence in report.remarks)
    assert survey(source, size=size).head == "linear"
    assert_identity(run(tmp_path / "out.onnx", random_images(2, *report.input)))


def test_second_input_is_refused_with_the_flag_that_fixes_it(tmp_path):
    net = Net()
    model = net.model(net.gemm(net.pooled()))
    model.graph.input.append(onnx.helper.make_tensor_value_info("more", 1, ["N", 2]))
    onnx.save(model, tmp_path / "in.onnx")
    with pytest.raises(ExportError, match=r"2 inputs \('data', 'more'\).*--fix NAME=VALUE"):
        attach(tmp_path / "in.onnx", tmp_path / "out.onnx")
