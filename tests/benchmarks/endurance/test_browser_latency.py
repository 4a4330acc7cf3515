"""The latency is measured on images that a real browser displays."""

import json
import subprocess
import sys

import numpy as np
import pytest

from camrt.benchmarks.endurance.browser_latency import NumberedCamera, draw_number, measure
from support.chromium import chromium
from support.needs import environment


@pytest.fixture
def _browser():
    with chromium():
        pass  # skips the test if there is none


@pytest.mark.parametrize("number", [0, 1, 0b1010_0000_1111_0101, 2**16 - 1])
def test_number_is_drawn_as_blocks_with_the_highest_bit_first(number):
    image = np.full((480, 640, 3), 77, np.uint8)
    draw_number(image, number)
    blocks = image[:32, :512].reshape(32, 16, 32, 3)
    assert (blocks == blocks[:1, :, :1, :1]).all()
    assert int("".join("1" if value else "0" for value in blocks[0, :, 0, 0]), 2) == number
    assert (image[32:] == 77).all()
    assert (image[:, 512:] == 77).all()


def test_camera_records_the_creation_time_of_each_frame():
    camera = NumberedCamera(distinct_frames=2)
    frames = [camera.read() for _ in range(4)]
    camera.close()
    assert camera.read() is None
    assert [frame.index for frame in frames] == sorted({frame.index for frame in frames})
    assert all(camera.created_ms[frame.index] == pytest.approx(1e3 * frame.time_s, abs=1000) for frame in frames)


@pytest.mark.browser
@pytest.mark.usefixtures("_browser")
def test_browser_reads_only_numbers_of_the_camera():
    result = measure(2.0)
    assert result["frames"] >= 2
    assert result["misread"] == 0
    assert 0 < result["median_ms"] <= result["p95_ms"]
    assert result["fps"] > 0


@pytest.mark.browser
@pytest.mark.usefixtures("_browser")
def test_script_prints_json():
    command = [sys.executable, "-m", "camrt.benchmarks.endurance.browser_latency", "--seconds", "1", "--json"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True, timeout=120)
    assert set(json.loads(done.stdout)) == {"frames", "fps", "median_ms", "p95_ms", "misread"}
