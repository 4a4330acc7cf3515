"""What every test may ask for."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

from support import REPOSITORY, boundaries

# No test asserts a time, and CI draws the same examples each time: what it refuses can be repeated.
settings.register_profile("camrt", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("camrt")


def pytest_configure():
    boundaries.install()
    # A script that starts the tests in the background makes them ignore Ctrl-C, and the processes they start as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    boundaries.enter(item)
    try:
        return (yield)
    finally:
        boundaries.leave()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real models, photos and videos; it stands beside the checkout, or where CAMRT_TEST_DATA says."""
    folder = Path(os.environ.get("CAMRT_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "SOURCES.md").is_file():
        reason = f"no real test data at {folder}; point CAMRT_TEST_DATA at a copy"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return folder
