"""The delay is measured on pictures that truly came through a browser."""

import json
import subprocess
import sys

import numpy as np
import pytest

from camrt.benchmarks.endurance.browser_latency import NumberedCamera, measure, stamp
from support.chromium import chromium
from support.needs import environment


@pytest.fixture
def _browser():
    with chromium():
        pass  # there is one


@pytest.mark.parametrize("number", [0, 1, 0b1010_0000_1111_0101, 2**16 - 1])
def test_a_number_is_drawn_as_blocks_the_highest_bit_first(number):
    image = np.full((480, 640, 3), 77, np.uint8)
    stamp(image, number)
    blocks = image[:32, :512].reshape(32, 16, 32, 3)
    assert (blocks == blocks[:1, :, :1, :1]).all()
    assert int("".join("1" if value else "0" for value in blocks[0, :, 0, 0]), 2) == number
    assert (image[32:] == 77).all()
    assert (image[:, 512:] == 77).all()


def test_the_camera_says_when_it_made_each_frame():
    camera = NumberedCamera(views=2)
    frames = [camera.read() for _ in range(4)]
    camera.close()
    assert camera.read() is None
    assert [frame.index for frame in frames] == sorted({frame.index for frame in frames})
    assert all(camera.made_ms[frame.index] == pytest.approx(1e3 * frame.time_s, abs=1000) for frame in frames)


@pytest.mark.browser
@pytest.mark.usefixtures("_browser")
def test_every_number_that_is_read_was_made():
    found = measure(2.0)
    assert found["frames"] >= 2
    assert found["misread"] == 0
    assert 0 < found["median_ms"] <= found["p95_ms"]
    assert found["fps"] > 0


@pytest.mark.browser
@pytest.mark.usefixtures("_browser")
def test_it_prints_json():
    command = [sys.executable, "-m", "camrt.benchmarks.endurance.browser_latency", "--seconds", "1", "--json"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True, timeout=120)
    assert set(json.loads(done.stdout)) == {"frames", "fps", "median_ms", "p95_ms", "misread"}
