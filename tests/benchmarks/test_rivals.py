"""The comparison with other libraries: what is timed draws the same map, and every library is timed."""

import json
import subprocess
import sys

import numpy as np
import pytest

from camrt.benchmarks import rivals
from camrt.errors import CamrtError
from support.needs import environment

NAMES = {"camrt", "ORT + OpenCV by hand", "torchcam", "pytorch-grad-cam"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's own, while it exports
def test_every_library_draws_the_same_map_before_it_is_timed():
    (row,) = rivals.whole_frame(((96, 64),), threads=2, rounds=1)
    assert (row["frame"], row["threads"]) == ([96, 64], 2)
    assert set(row["ms"]) == set(row["correlation"]) == NAMES
    assert set(row["speedup"]) == NAMES - {"camrt"}
    assert all(correlation > 0.999 for correlation in row["correlation"].values())
    assert all(ms > 0 for ms in row["ms"].values())


def test_a_rival_that_draws_another_map_is_not_timed():
    frame = np.zeros((8, 8, 3), np.uint8)
    random = np.random.default_rng(0)
    ways = {
        "camrt": lambda _: (frame, np.eye(7, dtype=np.float32)),
        "noise": lambda _: (frame, random.random((7, 7), np.float32)),
    }
    with pytest.raises(CamrtError, match="noise draws another map"):
        rivals._check_maps(frame, ways)


@pytest.mark.slow
def test_the_script_prints_json():
    code = (
        "from camrt.benchmarks import rivals\n"
        "rivals.SIZES = ((64, 48), (33, 7), (80, 60))\n"
        "import sys; sys.argv = ['rivals', '--rounds', '1', '--threads', '1', '--json']\n"
        "rivals.main()"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [row["frame"] for row in report["whole_frame"]] == [[64, 48], [80, 60]]
    assert [row["frame"] for row in report["overlay"]] == [[64, 48], [33, 7], [80, 60]]
    assert {"torch", "torchcam", "grad-cam"} <= set(report["machine"]["versions"])
