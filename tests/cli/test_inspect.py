"""``camrt inspect`` shows the contents of a model file, and verifies that its maps explain its scores."""

import json
import re

import numpy as np
import onnx
import pytest

from support.command import camrt, succeeds
from support.export_graphs import CHANNELS, Net
from support.tiny_models import model_info, write_class_maps, write_linear

pytestmark = pytest.mark.process


def test_the_json_report_has_the_documented_keys(squeezenet, photo):
    report = json.loads(succeeds("inspect", squeezenet, "--verify", photo, "--provider", "cpu", "--json"))
    assert (report["head"], report["classes"], report["features"]) == ("pooled_class_maps", 1000, [1000, 16, 16])
    assert (report["map_margin"], report["input"]["width"], report["input"]["height"]) == (1, 227, 227)
    assert (len(report["labels"]), report["labels"][203]) == (1000, "West Highland white terrier")
    assert report["preprocessing"] == {
        "channels": "bgr",
        "scale": 1.0,
        "mean": [104.0, 117.0, 123.0],
        "std": [1.0, 1.0, 1.0],
    }
    assert report["identity_error"] <= report["identity_tolerance"] == 1e-4
    assert report["identity_holds"] is True
    assert report["top"][0]["label"] == "West Highland white terrier"
    assert report["provider"] == "cpu"
    assert report["precision"] == report["running_precision"] == "fp32"
    assert report["size_bytes"] == squeezenet.stat().st_size


def test_without_verify_the_report_has_no_identity(mobilenet):
    report = json.loads(succeeds("inspect", mobilenet, "--json"))
    assert (report["head"], report["classes"], report["features"]) == ("linear", 1001, [256, 4, 4])
    assert "identity_error" not in report


def test_the_text_report_has_a_row_for_each_fact(mobilenet, photo):
    lines = succeeds("inspect", mobilenet, "--verify", photo).splitlines()
    rows = {line[:14].strip(): line[14:] for line in lines}
    assert rows["head"].startswith("linear (features, pool, one linear layer: the maps add up to the logits")
    assert rows["maps"] == "256x4x4"
    assert rows["input"] == "128x128, stretch, antialias"
    assert rows["classes"].startswith("1001: background; tench, Tinca tinca; goldfish, Carassius auratus;")
    assert rows["identity"].startswith(f"holds; on {photo} mean(CAM) + bias is within ")


def test_verify_works_without_an_image_and_before_the_model(mobilenet):
    before, after = (succeeds("inspect", *words) for words in (["--verify", mobilenet], [mobilenet, "--verify"]))
    assert before == after
    assert "identity      holds; on noise" in after


def test_labels_lists_all_classes(squeezenet, shared_data):
    lines = succeeds("inspect", squeezenet, "--labels").splitlines()
    labels = (shared_data / "labels" / "imagenet1000.txt").read_text().splitlines()
    assert lines[-1000:] == [f"{number:>6}  {label}" for number, label in enumerate(labels)]


@pytest.mark.parametrize("write", [write_linear, write_class_maps])
def test_verify_detects_maps_that_do_not_explain_the_scores(write, tmp_path):
    path = write(tmp_path / "model.onnx")
    assert camrt("inspect", path, "--verify").returncode == 0
    model = onnx.load(path)
    for node in list(model.graph.node):  # the logits differ from the pooled values
        if node.output[0] == "logits":
            node.output[0] = "pooled_logits"
            model.graph.node.append(onnx.helper.make_node("Mul", ["pooled_logits", "full"], ["logits"]))
    softmax = next(node for node in model.graph.node if node.op_type == "Softmax")
    model.graph.node.remove(softmax)
    model.graph.node.append(softmax)
    onnx.save(model, path)
    done = camrt("inspect", path, "--verify")
    assert done.returncode == 1
    assert "DOES NOT HOLD" in done.stdout
    assert json.loads(camrt("inspect", path, "--verify", "--json").stdout)["identity_holds"] is False


def test_inspect_shows_the_head_of_a_classifier(tmp_path):
    net = Net()
    maps = net.features()
    pooled = net.op("Flatten", net.op("GlobalAveragePool", maps))
    hidden = net.op("Relu", net.op("Gemm", pooled, net.weights(6, 5), transB=1))
    source = net.save(tmp_path / "in.onnx", net.op("Gemm", hidden, net.weights(4, 6), transB=1))
    report = json.loads(succeeds("inspect", source, "--json"))
    assert (report["head"], report["refusal"], report["input"]) == ("per_position", None, [8, 8])
    assert report["layers"][-1] == {"name": maps, "shape": [5, 4, 4], "operator": "Relu", "head": "per_position"}
    assert report["layers"][0]["head"] == "masked"
    assert f"camrt attach {source} -o in.cam.onnx" in succeeds("inspect", source)

    assert "maps from the head on each cell off by" in succeeds(
        "attach", source, "-o", tmp_path / "out.onnx", "--layer", maps
    )
    text = succeeds("inspect", tmp_path / "out.onnx", "--verify")
    assert "per_position (not linear" in text
    assert "do not add up to the logits" in text
    assert re.search(r"cost +the maps took (\d+\.\d\d of|no measurable part of) \d+\.\d\d ms an image", text)


def test_inspect_prints_no_cost_below_zero(tmp_path):
    """The two times of the record are measured one after the other, so they can differ by chance alone."""
    times = {"ms": 1.5, "ms_without_maps": 1.75}
    path = write_class_maps(tmp_path / "model.onnx", info=model_info(map_margin=1, verification=times))
    assert re.search(r"cost +the maps took no measurable part of 1\.50 ms", succeeds("inspect", path))


def test_inspect_names_the_errors_of_a_quantized_head(tmp_path):
    net = Net(13)
    scale, zero = net.const(np.array(0.05, np.float32)), net.const(np.array(0, np.uint8))
    rounded = net.op("DequantizeLinear", net.op("QuantizeLinear", net.pooled(), scale, zero), scale, zero)
    source = net.save(tmp_path / "in.onnx", net.gemm(rounded))
    printed = succeeds("attach", source, "-o", tmp_path / "out.onnx")
    proof = r"is within [\d.e-]+ of the largest logit without the head's rounding; with it within [\d.]+ of the logits"
    assert re.search(proof, printed)
    text = succeeds("inspect", tmp_path / "out.onnx", "--verify")
    assert re.search(proof, text)
    assert re.search(r"identity +holds; on noise mean\(CAM\) \+ bias is within [\d.e-]+ of the logits", text)
    assert "tolerance" not in text


def test_inspect_gives_the_reason_why_a_classifier_has_no_head(tmp_path):
    net = Net()
    source = net.save(tmp_path / "in.onnx", net.pooled(), **{"flatten6": ["N", CHANNELS]})
    done = camrt("inspect", source)
    assert (done.returncode, "export it with its classifier" in done.stdout) == (1, True)
