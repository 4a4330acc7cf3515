"""Chromium, and servers for it: the synthetic camera, and an image that stands still."""

import cv2
import numpy as np
import pytest

import camrt
from support.chromium import chromium
from support.serving import DEMO, serving


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def synthetic():
    with serving() as served:
        yield served, served.get("/api/settings")


@pytest.fixture
def live(synthetic):
    served, defaults = synthetic
    yield served
    served.change(**defaults)


@pytest.fixture(scope="module")
def frame():
    """An image in which the demo model finds several classes."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    return cv2.resize(noise, (320, 240), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def still(frame, tmp_path):
    cv2.imwrite(str(tmp_path / "image.png"), frame)
    with serving(source=("--source", "image.png"), cwd=tmp_path) as served:
        yield served


@pytest.fixture(scope="module")
def result(frame):
    return camrt.load(DEMO, "cpu")(frame)
