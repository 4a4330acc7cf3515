"""The benchmark of collect compares it with the model alone, in turns."""

import pytest

import camrt
from camrt.benchmarks.compare import collect
from support.many_images import write_images
from support.tiny_models import write_linear


@pytest.mark.process
@pytest.mark.slow
def test_collect_is_compared_with_the_model_alone(tmp_path):
    model = camrt.load(write_linear(tmp_path / "model.onnx"), "cpu", 2)
    report = collect.measure(model, write_images(tmp_path / "data", 8), rounds=1)
    assert report["images"] == 256
    assert set(report["images_per_second"]) == {
        *("model, all threads", "model, sessions side by side", "collect"),
    }
    assert all(ratio > 0 for ratio in report["ratio"].values())
    assert {workers: row["threads"] for workers, row in report["workers"].items()} == {"1": 2, "2": 1, "4": 1}
    assert report["workers"]["2"]["ratio_to_default"] == 1
    assert 0 < report["decode_share"] < 1
