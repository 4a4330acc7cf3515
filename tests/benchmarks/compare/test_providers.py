"""The comparison of providers measures those that run here, and reports why others cannot."""

import json
import subprocess
import sys

import pytest

from camrt.benchmarks.compare import providers
from support.command import succeeds
from support.needs import environment


@pytest.fixture(scope="module")
def model(shared_data, tmp_path_factory):
    target = tmp_path_factory.mktemp("models") / "squeezenet.onnx"
    succeeds("attach", shared_data / "models" / "squeezenet11_caffe.onnx", "-o", target)
    return target


@pytest.mark.process
@pytest.mark.slow
def test_the_cpu_is_measured_and_other_providers_have_a_reason(model, tmp_path):
    numbers = tmp_path / "numbers.json"
    command = [
        sys.executable,
        "-m",
        "camrt.benchmarks.compare.providers",
        model,
        "--seconds",
        "0.05",
        "--json",
        numbers,
    ]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(numbers.read_text())
    (cpu,) = (result for result in report["results"] if result["provider"] == "cpu")
    assert [row["batch"] for row in cpu["batches"]] == list(providers.BATCHES)
    assert [row["cameras"] for row in cpu["streams"]] == list(providers.STREAMS)
    assert all(row["fps"] > 0 for row in cpu["batches"])
    for absent in set(providers.PROVIDERS) - {result["provider"] for result in report["results"]}:
        assert "cannot run" in report["missing"][absent]
        assert report["missing"][absent] in done.stdout
    names = " | ".join(result["provider"] for result in report["results"])
    assert f"| images per second, batch | {names} |" in done.stdout
    # 1000 scores and logits of four bytes, and a 16x16 map of each class; an input of 227x227 pixels.
    assert cpu["binding"]["bytes_in"] == 227 * 227 * 3
    assert cpu["binding"]["bytes_out"] == {"bound": 4 * (2000 + 1000 * 256), "unbound": 4 * (2000 + 1000 * 256)}
