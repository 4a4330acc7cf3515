"""The benchmark of quantized networks: published scores are reproduced, and the document shows its tables."""

import json

import numpy as np
import onnx
import pytest

import camrt
from camrt.benchmarks.compare.quantization import make_tables, remove_quantization
from camrt.benchmarks.report import tables
from camrt.export import attach
from camrt.export.graph.preprocessing import Preprocessing
from camrt.export.graph.synthetic_images import read_images
from camrt.runtime.assets import DEMO_MODEL
from camrt.runtime.evaluation.localization import BoxedImage, localize, read_boxes
from support import REPOSITORY
from support.export_graphs import session

MOBILENET = "mobilenetv2_torchvision_qdq_int8"


@pytest.fixture(scope="module")
def boxes(shared_data):
    return read_boxes(shared_data / "images_boxes")


def test_localization_scores_equal_the_published_ones(shared_data, boxes, tmp_path):
    """SOURCES.md of the test data: pointing game and MaxBoxAcc of two networks."""
    linear = {"interpolation": "linear"}  # as for the published scores
    attach(shared_data / "models" / f"{MOBILENET}.onnx", tmp_path / "mobilenet.onnx", **linear)
    attach(
        shared_data / "models" / "squeezenet11_caffe.onnx",
        tmp_path / "squeezenet.onnx",
        channels="bgr",
        scale=1,
        mean=(104, 117, 123),
        std=(1, 1, 1),
        **linear,
    )
    for name, expected in (("mobilenet", (0.839, 0.589)), ("squeezenet", (0.875, 0.446))):
        scores = localize(camrt.load(tmp_path / f"{name}.onnx", provider="cpu"), boxes)
        assert (scores.pointing_game, scores.max_box_acc) == pytest.approx(expected, abs=5e-4)


def test_box_outside_the_image_is_missed(boxes):
    model = camrt.load(DEMO_MODEL, provider="cpu")
    image = boxes[0].image
    outside = BoxedImage(image, [0], [(image.shape[1], image.shape[0], image.shape[1] + 1, image.shape[0] + 1)])
    whole = BoxedImage(image, [0], [(0, 0, image.shape[1], image.shape[0])])
    assert (localize(model, [outside]).pointing_game, localize(model, [outside]).max_box_acc) == (0, 0)
    assert localize(model, [whole]).pointing_game == 1
    assert localize(model, [outside, whole]).pointing_game == 0.5


def test_network_without_quantization_predicts_nearly_the_same(shared_data):
    model = onnx.load(shared_data / "models" / f"{MOBILENET}.onnx")
    plain = remove_quantization(model)
    onnx.checker.check_model(plain)
    assert not {"QuantizeLinear", "DequantizeLinear"} & {node.op_type for node in plain.graph.node}
    pixels = Preprocessing().apply(read_images(shared_data / "images_cls", 224, 224)[:8])
    first, second = (session(each).run(None, {"input": pixels})[0] for each in (model, plain))
    assert not np.array_equal(first, second)
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.97


def test_document_shows_the_committed_results():
    report = json.loads((REPOSITORY / "docs" / "quantize.json").read_text(encoding="utf-8"))
    document = (REPOSITORY / "docs" / "quantize.md").read_text(encoding="utf-8")
    assert tables.fill(document, make_tables(report)) == document
    trained = [row for row in report["networks"] if row["trained"]]
    assert len(trained) >= 5
    assert all(row["pearson_median"] >= 0.98 for row in trained)
