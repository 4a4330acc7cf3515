"""The script for a machine with a GPU: the test runs it on the CPU."""

import json
import subprocess
import sys

import pytest

from camrt.benchmarks.compare import providers
from support import REPOSITORY
from support.command import succeeds
from support.needs import environment


@pytest.fixture(scope="module")
def model(shared_data, tmp_path_factory):
    target = tmp_path_factory.mktemp("models") / "squeezenet.onnx"
    succeeds("attach", shared_data / "models" / "squeezenet11_caffe.onnx", "-o", target)
    return target


@pytest.mark.process
@pytest.mark.slow
def test_script_measures_the_cpu_and_reports_why_other_providers_cannot_run(model):
    changes = {"PYTHON": sys.executable, "ROUNDS": "1", "SECONDS_EACH": "0.05"}
    numbers = REPOSITORY / "gpu.json"
    try:
        done = subprocess.run(
            [REPOSITORY / "benchmarks" / "compare" / "gpu.sh", model],
            env=environment(**changes),
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        report = json.loads(numbers.read_text())
    finally:
        numbers.unlink(missing_ok=True)
    (cpu,) = (result for result in report["results"] if result["provider"] == "cpu")
    assert [row["batch"] for row in cpu["batches"]] == list(providers.BATCHES)
    assert [row["cameras"] for row in cpu["streams"]] == list(providers.STREAMS)
    assert all(row["fps"] > 0 for row in cpu["batches"])
    for absent in set(providers.PROVIDERS) - {result["provider"] for result in report["results"]}:
        assert "cannot run" in report["missing"][absent]
        assert report["missing"][absent] in done.stdout
    assert "| images per second, batch | cpu |" in done.stdout
    # 1000 scores and logits of four bytes, and a 16x16 map of each class; an input of 227x227 pixels.
    assert cpu["binding"]["bytes_in"] == 227 * 227 * 3
    assert cpu["binding"]["bytes_out"] == {"bound": 4 * (2000 + 1000 * 256), "unbound": 4 * (2000 + 1000 * 256)}
