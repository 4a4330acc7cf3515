"""Settings, markers and fixtures of all tests."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

from support import REPOSITORY, boundaries
from support.needs import skip_or_fail

# No deadline: no test asserts a time. CI draws the same examples in each run, so that a failure can be repeated.
settings.register_profile("camrt", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("camrt")


def pytest_configure(config):
    boundaries.install()
    # A script that starts the tests in the background makes them ignore Ctrl-C, and the processes they start as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("numprocesses", None):  # before the workers start, or each of them compiles the kernels
        from camrt import kernels

        kernels.warm_up()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Let a worker of pytest-xdist run all tests of a file, which share fixtures, but spread slow tests one by one."""
    if not hasattr(config, "workerinput"):
        return
    for item in items:
        if not any(map(item.get_closest_marker, ("slow", "xdist_group"))):
            item.add_marker(pytest.mark.xdist_group(item.location[0]))
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)  # a slow test at the end would run alone


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    boundaries.enter(item)
    try:
        return (yield)
    finally:
        boundaries.leave()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real models, photos and videos: `CAMRT_TEST_DATA`, or `shared/data` beside the checkout."""
    folder = Path(os.environ.get("CAMRT_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "SOURCES.md").is_file():
        skip_or_fail(f"no real test data at {folder}; set CAMRT_TEST_DATA to a copy")
    return folder
