"""Requirements of tests on the machine, and the environment of their subprocesses."""

import os
import sys
from typing import NoReturn

import pytest


def skip_or_fail(reason: str) -> NoReturn:
    """Skip the test, or fail it in CI, where everything must be installed."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def environment(**changes: str) -> dict[str, str]:
    """Return the environment of a subprocess that can import the same modules as this process, from any folder."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith("OPENCV")}
    return variables | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))} | changes
