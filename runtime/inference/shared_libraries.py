"""Shared libraries that a provider of ONNX Runtime needs, and the wheels that installed a package."""

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

_LDD_LINE: Final = re.compile(r"^\s*(\S+) => (.*)$", re.MULTILINE)
_LDD_TIMEOUT_S: Final = 20


def wheels_of(package: str) -> list[str]:
    """Return the distributions that installed the importable package, each as ``name version``.

    If there are two, the later installation has overwritten files of the earlier one.
    """
    owners: dict[Path, set[str]] = {}  # by file: a copy later on sys.path is hidden and overwrites nothing
    for distribution in importlib.metadata.distributions():
        for file in distribution.files or []:
            if str(file) == f"{package}/__init__.py":
                owners.setdefault(Path(str(file.locate())), set()).add(f"{distribution.name} {distribution.version}")
    return sorted(next(iter(owners.values()), ()))


def preload_cuda(runtime: ModuleType) -> None:
    """Load the CUDA and cuDNN wheels in ``site-packages``, where the system's loader does not search.

    ONNX Runtime prints missing libraries. The output is dropped, because `missing_libraries` reports them.
    """
    if hasattr(runtime, "preload_dlls"):  # since 1.21
        with contextlib.redirect_stdout(io.StringIO()):
            runtime.preload_dlls()


def provider_library(runtime: ModuleType, provider: str) -> Path:
    """Return the path of a provider's shared library; on Linux CUDA, TensorRT and OpenVINO have one."""
    return Path(str(runtime.__file__)).parent / "capi" / f"libonnxruntime_providers_{provider}.so"


def missing_libraries(library: Path) -> list[str]:
    """Return the dependencies of a shared library that cannot be loaded; empty without ``ldd``."""
    missing = []
    for name, is_found in needed_libraries(library).items():
        if not is_found:
            try:
                ctypes.CDLL(name)  # a library that is loaded already may come from a folder that ldd does not search
            except OSError:
                missing.append(name)
    return missing


def needed_libraries(library: Path) -> dict[str, bool]:
    """Return the dependencies of a shared library and whether the system's loader finds them; empty without ``ldd``."""
    english = os.environ | {"LC_ALL": "C"}
    try:
        ldd = subprocess.run(
            ["ldd", library], env=english, capture_output=True, text=True, timeout=_LDD_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return {name: "not found" not in path for name, path in _LDD_LINE.findall(ldd.stdout)}
