"""The benchmark of quantized networks: its measures are those of others, its table is what the document shows."""

import json

import numpy as np
import onnx
import pytest

import camrt
from camrt.benchmarks.compare.quantization import in_float, tables_of
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
def boxed(shared_data):
    return read_boxes(shared_data / "images_boxes")


def test_the_scores_are_those_that_the_notes_state(shared_data, boxed, tmp_path):
    """SOURCES.md: pointing game and MaxBoxAcc of two networks, and of the frame's centre."""
    attach(shared_data / "models" / f"{MOBILENET}.onnx", tmp_path / "mobilenet.onnx")
    attach(
        shared_data / "models" / "squeezenet11_caffe.onnx",
        tmp_path / "squeezenet.onnx",
        channels="bgr",
        scale=1,
        mean=(104, 117, 123),
        std=(1, 1, 1),
    )
    for name, stated in (("mobilenet", (0.839, 0.589)), ("squeezenet", (0.875, 0.446))):
        found = localize(camrt.load(tmp_path / f"{name}.onnx", provider="cpu"), boxed)
        assert (found.pointing_game, found.max_box_acc) == pytest.approx(stated, abs=5e-4)


def test_a_box_elsewhere_is_missed(boxed):
    model = camrt.load(DEMO_MODEL, provider="cpu")
    image = boxed[0].image
    far = BoxedImage(image, [0], [(image.shape[1], image.shape[0], image.shape[1] + 1, image.shape[0] + 1)])
    everywhere = BoxedImage(image, [0], [(0, 0, image.shape[1], image.shape[0])])
    assert (localize(model, [far]).pointing_game, localize(model, [far]).max_box_acc) == (0, 0)
    assert localize(model, [everywhere]).pointing_game == 1
    assert localize(model, [far, everywhere]).pointing_game == 0.5


def test_a_quantized_network_without_its_rounding_says_nearly_the_same(shared_data):
    model = onnx.load(shared_data / "models" / f"{MOBILENET}.onnx")
    plain = in_float(model)
    onnx.checker.check_model(plain)
    assert not {"QuantizeLinear", "DequantizeLinear"} & {node.op_type for node in plain.graph.node}
    pixels = Preprocessing().apply(read_images(shared_data / "images_cls", 224, 224)[:8])
    first, second = (session(each).run(None, {"input": pixels})[0] for each in (model, plain))
    assert not np.array_equal(first, second)
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.97


def test_the_document_shows_what_is_committed():
    report = json.loads((REPOSITORY / "docs" / "quantize.json").read_text(encoding="utf-8"))
    document = (REPOSITORY / "docs" / "quantize.md").read_text(encoding="utf-8")
    assert tables.fill(document, tables_of(report)) == document
    trained = [row for row in report["networks"] if row["trained"]]
    assert len(trained) >= 5
    assert all(row["pearson_median"] >= 0.98 for row in trained)
