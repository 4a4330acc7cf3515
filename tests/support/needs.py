"""Requirements of tests on the machine, and the environment of their subprocesses."""

import ctypes
import os
import sys
from typing import NoReturn

import pytest

from camrt.runtime.inference.providers import onnxruntime


def skip_or_fail(reason: str) -> NoReturn:
    """Skip the test, or fail it in CI, where everything must be installed."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def environment(**changes: str) -> dict[str, str]:
    """Return the environment of a subprocess that can import the same modules as this process, from any folder."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith("OPENCV")}
    return variables | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))} | changes


def has_cuda():
    """Return whether this machine has an NVIDIA driver and a wheel of ONNX Runtime for it."""
    if "CUDAExecutionProvider" not in onnxruntime().get_available_providers():
        return False
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True
