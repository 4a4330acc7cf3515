"""Tests that need more of a machine than this process."""

import os
import sys
from typing import NoReturn

import pytest


def skip_or_fail(reason: str) -> NoReturn:
    """Skip the test where somebody works; fail it in CI, where everything is to be installed."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def environment(**changes: str) -> dict[str, str]:
    """Return the environment of a subprocess that is to import what this process imports, from any folder."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("OPENCV")}
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))} | changes
