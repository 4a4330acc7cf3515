"""Settings, markers and fixtures of all tests."""

import os
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings

from support import REPOSITORY, boundaries, inputs_table
from support.needs import skip_or_fail

# No deadline: no test asserts a time. CI draws the same examples in each run, so that a failure can be repeated.
settings.register_profile("camrt", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("camrt")

# Where two workers share two cores, torch's threads would spin for each other at every layer: fifteen times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

sys.modules["openvino_telemetry"] = None  # with it, OpenVINO sends usage data as soon as it is imported


def pytest_configure(config):
    boundaries.install()
    # A script that starts the tests in the background makes them ignore Ctrl-C, and the processes they start as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("numprocesses", None):  # before the workers start, or each of them compiles the kernels
        from camrt import kernels

        kernels.warm_up()


def pytest_collection_modifyitems(config, items):
    """Let the workers of pytest-xdist start with the files that have slow tests, so that none of these comes last."""
    if hasattr(config, "workerinput"):
        slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
        items.sort(key=lambda item: -slow[item.path])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    boundaries.enter(item)
    try:
        return (yield)
    finally:
        boundaries.leave()


def pytest_runtest_setup(item):
    inputs_table.assert_documented(item)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real models, photos and videos: `CAMRT_TEST_DATA`, or `shared/data` beside the checkout."""
    folder = Path(os.environ.get("CAMRT_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "SOURCES.md").is_file():
        skip_or_fail(f"no real test data at {folder}; set CAMRT_TEST_DATA to a copy")
    return folder


@pytest.fixture
def without_pyav(monkeypatch):
    """Return a function; after its call PyAV is not installed, as far as an import can tell."""
    return lambda: monkeypatch.setitem(sys.modules, "av", None)


@pytest.fixture(params=["PyAV", "OpenCV"])
def decoder(request, without_pyav):
    """Both ways to read a video: with PyAV, and as if PyAV was not installed."""
    if request.param == "OpenCV":
        without_pyav()
    return request.param
