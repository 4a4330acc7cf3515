"""The benchmark of quantized networks: its float32 originals predict alike, and the document shows its tables."""

import json

import numpy as np
import onnx
import pytest

from camrt.benchmarks.compare.quantization import compare_with_openvino, make_tables, remove_quantization
from camrt.benchmarks.report import tables
from camrt.export.graph.preprocessing import Preprocessing
from camrt.export.graph.synthetic_images import read_images
from camrt.runtime.assets import DEMO_MODEL
from camrt.synthetic_scene import Scene
from support import REPOSITORY
from support.export_graphs import session

MOBILENET = "mobilenetv2_torchvision_qdq_int8"


def test_network_without_quantization_predicts_nearly_the_same(shared_data):
    model = onnx.load(shared_data / "models" / f"{MOBILENET}.onnx")
    plain = remove_quantization(model)
    onnx.checker.check_model(plain)
    assert not {"QuantizeLinear", "DequantizeLinear"} & {node.op_type for node in plain.graph.node}
    pixels = Preprocessing().apply(read_images(shared_data / "images_cls", 224, 224)[:8])
    first, second = (session(each).run(None, {"input": pixels})[0] for each in (model, plain))
    assert not np.array_equal(first, second)
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.97


def test_openvino_draws_the_same_map_of_a_whole_frame():
    timing = compare_with_openvino(DEMO_MODEL, DEMO_MODEL, Scene(0, 160, 120).view(20).image)
    assert timing["ms"].keys() == timing["correlation"].keys() == {"camrt", "OpenVINO fp32", "OpenVINO default"}
    assert timing["correlation"]["camrt"] == pytest.approx(1.0)
    assert min(timing["correlation"].values()) > 0.9  # the others resize without antialiasing


def test_document_shows_the_committed_results():
    report = json.loads((REPOSITORY / "docs" / "quantize.json").read_text(encoding="utf-8"))
    document = (REPOSITORY / "docs" / "quantize.md").read_text(encoding="utf-8")
    assert tables.fill(document, make_tables(report)) == document
    trained = [row for row in report["networks"] if row["trained"]]
    assert len(trained) >= 5
    assert all(row["pearson_median"] >= 0.98 for row in trained)
