"""Describe the machine of a measurement."""

import importlib.metadata
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from camrt import __version__
from camrt.cores import usable_cores

_PACKAGES = (
    *("numpy", "numba", "onnxruntime", "onnxruntime-gpu", "opencv-python", "openvino", "torch", "torchcam", "grad-cam"),
)


_GPU_QUERY = ("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")


def describe_gpu() -> str | None:
    """Return the name of the first NVIDIA GPU and its driver; None: nvidia-smi finds none."""
    try:
        run = subprocess.run(_GPU_QUERY, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = run.stdout.strip().splitlines()
    if run.returncode or not lines:
        return None
    name, _, driver = lines[0].partition(", ")
    return f"{name}, driver {driver}"


def describe_machine() -> dict[str, Any]:
    """Return ``cpu``, ``cores`` (usable by this process) and ``versions`` of the packages that the speed depends on."""
    versions = {"camrt": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"cpu": _cpu(), "cores": usable_cores(), "versions": versions}


def format_machine(machine: Mapping[str, Any]) -> str:
    """Return the description of `describe_machine` on one line."""
    versions = ", ".join(f"{package} {version}" for package, version in machine["versions"].items())
    return f"{machine['cpu']}, {machine['cores']} cores; {versions}"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    # ARM kernels write "Model" (the board) where x86 kernels write "model name".
    for key in ("model name", "Model"):
        for line in lines:
            if line.startswith(key):
                return line.split(":", 1)[1].strip()
    return platform.machine()
