"""The comparison with other libraries: what is timed draws the same map, and every library is timed."""

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
contest = baselines.WholeFrame(baselines.export_network("mobilenet_v2", file), file, threads=2)
rows = baselines.whole_frame(contest, ((96, 64), (64, 64)), threads=2, rounds=1)
contest.close()
print(json.dumps(rows))
"""


@pytest.mark.process
@pytest.mark.slow
def test_every_library_draws_the_same_map_before_it_is_timed(tmp_path):
    # In a process of its own: once OpenVINO has used the processor's matrix tiles, a signal needs a larger stack than
    # pytest's faulthandler has set aside, and the next test that sends one would end this process.
    command = [sys.executable, "-W", "ignore", "-c", COMPARE, str(tmp_path / "m.onnx")]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)
    assert [first["frame"], second["frame"], first["threads"]] == [[96, 64], [64, 64], 2]
    assert set(first["ms"]) == set(first["correlation"]) == NAMES
    assert set(first["speedup"]) == NAMES - {"camrt"}
    alike = {name: value for name, value in first["correlation"].items() if name != baselines.OPENVINO_DEFAULT}
    assert all(correlation > 0.999 for correlation in alike.values())
    assert all(ms > 0 for ms in first["ms"].values())


def test_every_library_draws_the_overlay_alone():
    (row,) = baselines.overlay_only(((33, 7),), threads=1, rounds=1)
    assert set(row["ms"]) == {"camrt", "torchcam", "pytorch-grad-cam"}
    assert all(ms > 0 for ms in row["ms"].values())


def test_a_rival_that_draws_another_map_is_not_timed():
    frame = np.zeros((8, 8, 3), np.uint8)
    random = np.random.default_rng(0)
    ways = {
        "camrt": lambda _: (frame, np.eye(7, dtype=np.float32)),
        "noise": lambda _: (frame, random.random((7, 7), np.float32)),
    }
    with pytest.raises(CamrtError, match="noise draws another map"):
        baselines._check_maps(frame, ways)
