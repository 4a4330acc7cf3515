"""Files that ONNX Runtime runs and ONNX's checker rejects become model files, with a remark."""

import onnx
import pytest

from camrt.errors import ExportError
from camrt.export import attach, survey
from support.export_graphs import CLASSES, PLAIN, Net, assert_identity, expected_output, random_images, run


def without_graph_name(model):
    model.graph.name = ""


def with_an_output_by_name(model):
    """The recipe of ONNX Runtime's maintainers for feature maps."""
    model.graph.output.add().name = model.graph.node[-3].output[0]


def with_an_output_without_shape(model):
    model.graph.output[0].type.tensor_type.ClearField("shape")


def with_reversed_nodes(model):
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


REPAIRS = {
    without_graph_name: "had no name",
    with_an_output_by_name: "no type or shape",
    with_an_output_without_shape: "no type or shape",
    with_reversed_nodes: "order",
}


@pytest.mark.parametrize("change", REPAIRS, ids=lambda change: change.__name__)
@pytest.mark.input_kind(
    "model", "no graph name, unsorted nodes, outputs without type or shape", "ONNX Runtime", "equal logits, a remark"
)
def test_graph_that_the_checker_rejects_is_repaired(change, tmp_path):
    net = Net()
    model = net.model(net.gemm(net.pooled()))
    onnx.save(model, tmp_path / "good.onnx")
    change(model)
    with pytest.raises(onnx.checker.ValidationError):
        onnx.checker.check_model(model)
    onnx.save(model, tmp_path / "in.onnx")
    report = attach(tmp_path / "in.onnx", tmp_path / "out.onnx", **PLAIN)
    assert (report.head, report.classes, len(report.remarks)) == ("linear", CLASSES, 1)
    assert REPAIRS[change] in report.remarks[0]
    results = run(tmp_path / "out.onnx", random_images(2))
    assert_identity(results)
    expected = expected_output(tmp_path / "good.onnx", random_images(2))
    assert abs(results["logits"] - expected).max() < 1e-5
    assert survey(tmp_path / "in.onnx").remarks == report.remarks


def test_file_that_stays_invalid_is_taken_if_onnx_runtime_runs_it(tmp_path):
    """An input without a shape."""
    net = Net()
    model = net.model(net.gemm(net.pooled()))
    model.graph.input[0].type.tensor_type.ClearField("shape")
    onnx.save(model, tmp_path / "in.onnx")
    report = attach(tmp_path / "in.onnx", tmp_path / "out.onnx", size=(8, 8), **PLAIN)
    assert any("ONNX's checker objects" in sentence for sentence in report.remarks)
    assert_identity(run(tmp_path / "out.onnx", random_images(2)))


@pytest.mark.input_kind("model", "scores as a list of dictionaries (ZipMap)", "ONNX Runtime", "equal scores, a remark")
def test_scores_in_dictionaries_are_used(tmp_path):
    """As Custom Vision and scikit-learn end their networks; the label is a second output."""
    net = Net()
    scores = net.op("Softmax", net.gemm(net.pooled()), axis=1)
    model = net.model(scores)
    onnx.save(model, tmp_path / "scores.onnx")
    labels = [f"label {number}" for number in range(CLASSES)]
    zipped = onnx.helper.make_node("ZipMap", [scores], ["loss"], domain="ai.onnx.ml", classlabels_strings=labels)
    model.graph.node.append(zipped)
    model.opset_import.append(onnx.helper.make_opsetid("ai.onnx.ml", 1))
    entry = onnx.helper.make_map_type_proto(
        onnx.TensorProto.STRING, onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [])
    )
    value = onnx.helper.make_value_info("loss", onnx.helper.make_sequence_type_proto(entry))
    model.graph.output[0].CopyFrom(value)
    onnx.save(model, tmp_path / "in.onnx")
    report = attach(tmp_path / "in.onnx", tmp_path / "out.onnx", **PLAIN)
    assert (report.head, report.activation) == ("linear", "softmax")
    assert any("ZipMap" in sentence for sentence in report.remarks)
    expected = expected_output(tmp_path / "scores.onnx", random_images(2))
    assert abs(run(tmp_path / "out.onnx", random_images(2))["scores"] - expected).max() < 1e-6


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.input_kind("model", "custom operator (QONNX, MATLAB, mmcv)", "ONNX Runtime", "refused: name and domain")
def test_custom_operator_is_named_with_its_domain(declared, tmp_path):
    net = Net()
    net.nodes.append(onnx.helper.make_node("Quant", [net.input], ["quantized"], domain="qonnx.custom_op.general"))
    model = net.model(net.gemm(net.op("Flatten", net.op("GlobalAveragePool", net.features(source="quantized")))))
    if declared:
        model.opset_import.append(onnx.helper.make_opsetid("qonnx.custom_op.general", 1))
    onnx.save(model, tmp_path / "in.onnx")
    with pytest.raises(ExportError, match=r"in\.onnx has operators .*: Quant \(domain 'qonnx\.custom_op.*QDQ form"):
        attach(tmp_path / "in.onnx", tmp_path / "out.onnx")


def test_graph_that_nothing_runs_is_refused_with_both_reasons(tmp_path):
    net = Net()
    model = net.model(net.gemm(net.pooled()))
    model.graph.node[0].input[0] = "nowhere"
    onnx.save(model, tmp_path / "in.onnx")
    with pytest.raises(ExportError, match=r"not a valid ONNX model: .*ONNX Runtime [\d.]+ cannot open"):
        attach(tmp_path / "in.onnx", tmp_path / "out.onnx")
