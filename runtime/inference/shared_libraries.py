"""Shared libraries that a provider of ONNX Runtime needs, and the wheels that brought a package."""

import contextlib
import ctypes
import importlib.metadata
import io
import os
import re
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Final

_NEEDED: Final = re.compile(r"^\s*(\S+) => (.*)$", re.MULTILINE)
_PATIENCE_S: Final = 20


def wheels_of(package: str) -> list[str]:
    """Return the installed distributions that brought the package that is imported, each as ``name version``.

    Where there are two, the one that was installed later has overwritten the other's files.
    """
    found: dict[Path, set[str]] = {}  # one that comes later on the path is hidden and harms nobody
    for distribution in importlib.metadata.distributions():
        for file in distribution.files or []:
            if str(file) == f"{package}/__init__.py":
                found.setdefault(Path(str(file.locate())), set()).add(f"{distribution.name} {distribution.version}")
    return sorted(next(iter(found.values()), ()))


def preload_cuda(runtime: ModuleType) -> None:
    """Load the CUDA and cuDNN wheels in ``site-packages``, where the loader of the system does not look.

    What is missing is not said here, though ONNX Runtime would print it: `missing` tells it.
    """
    if hasattr(runtime, "preload_dlls"):  # since 1.21
        with contextlib.redirect_stdout(io.StringIO()):
            runtime.preload_dlls()


def provider_library(runtime: ModuleType, provider: str) -> Path:
    """Return where the shared library of a provider would be; CUDA, TensorRT and OpenVINO have one on Linux."""
    return Path(str(runtime.__file__)).parent / "capi" / f"libonnxruntime_providers_{provider}.so"


def missing(library: Path) -> list[str]:
    """Return the libraries that a shared library needs and that cannot be loaded, as far as the system tells."""
    lost = []
    for name, found in needed(library).items():
        if not found:
            try:
                ctypes.CDLL(name)  # one that is loaded already was found elsewhere
            except OSError:
                lost.append(name)
    return lost


def needed(library: Path) -> dict[str, bool]:
    """Return what a shared library needs, and whether the system's loader finds it; empty where there is no ``ldd``."""
    english = os.environ | {"LC_ALL": "C"}
    try:
        told = subprocess.run(
            ["ldd", library], env=english, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return {name: "not found" not in where for name, where in _NEEDED.findall(told.stdout)}
