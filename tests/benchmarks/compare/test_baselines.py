"""The comparison with other libraries times every library, and only those that draw the same map."""

import json
import subprocess
import sys

import numpy as np
import pytest

from camrt.benchmarks.compare import baselines
from camrt.errors import CamrtError
from support.needs import environment

NAMES = {
    *("camrt", "ONNX Runtime by hand", "OpenVINO fp32", baselines.OPENVINO_DEFAULT, "torchcam", "pytorch-grad-cam"),
}


COMPARE = """
import json, sys
from pathlib import Path
from camrt.benchmarks.compare import baselines
file = Path(sys.argv[1])
libraries = baselines.Libraries(baselines.export_network("mobilenet_v2", file), file, threads=2)
rows = baselines.measure_whole_frame(libraries, ((96, 64), (64, 64)), threads=2, rounds=1)
libraries.close()
print(json.dumps(rows))
"""


@pytest.mark.process
@pytest.mark.slow
def test_every_library_that_is_timed_draws_the_same_map(tmp_path):
    # In a separate process: after OpenVINO has used the processor's matrix tiles, a signal needs a larger stack than
    # pytest's faulthandler provides, and the next test that sends a signal would end this process.
    command = [sys.executable, "-W", "ignore", "-c", COMPARE, str(tmp_path / "m.onnx")]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)
    assert [first["frame"], second["frame"], first["threads"]] == [[96, 64], [64, 64], 2]
    assert set(first["ms"]) == set(first["correlation"]) == NAMES
    assert set(first["speedup"]) == NAMES - {"camrt"}
    del first["correlation"][baselines.OPENVINO_DEFAULT]
    assert all(correlation > 0.999 for correlation in first["correlation"].values())
    assert all(ms > 0 for ms in first["ms"].values())


def test_every_library_draws_only_the_overlay():
    (row,) = baselines.measure_overlay(((33, 7),), threads=1, rounds=1)
    assert set(row["ms"]) == {"camrt", "torchcam", "pytorch-grad-cam"}
    assert all(ms > 0 for ms in row["ms"].values())


def test_library_that_draws_another_map_is_an_error():
    frame = np.zeros((8, 8, 3), np.uint8)
    random = np.random.default_rng(0)
    methods = {
        "camrt": lambda _: (frame, np.eye(7, dtype=np.float32)),
        "noise": lambda _: (frame, random.random((7, 7), np.float32)),
    }
    with pytest.raises(CamrtError, match="noise draws another map"):
        baselines._check_maps(frame, methods)
