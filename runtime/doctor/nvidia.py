"""NVIDIA: the GPU, its driver, and the libraries that ONNX Runtime's provider needs."""

import ctypes
import importlib.metadata
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from camrt.errors import CamrtError
from camrt.runtime.doctor.finding import OK, PROBLEM, WARNING, Finding
from camrt.runtime.libraries import needed, preload_cuda, provider_library
from camrt.runtime.providers import PROVIDERS, onnxruntime

_JETSON: Final = Path("/etc/nv_tegra_release")
_PCI: Final = Path("/sys/bus/pci/devices")
_VENDOR, _DISPLAY_CLASS = "0x10de", "0x03"
_DRIVER: Final = Path("/proc/driver/nvidia/version")
_QUERY: Final = ("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")
_PATIENCE_S: Final = 20
_CUDNN: Final = "libcudnn.so.9"
_PIP: Final = "pip install 'onnxruntime-gpu[cuda,cudnn]'"


def gpu_found() -> bool:
    """Return whether there is an NVIDIA GPU, with or without a driver."""
    return _JETSON.exists() or _DRIVER.exists() or any(_on_the_bus())


def _on_the_bus() -> Iterator[str]:
    for device in sorted(_PCI.glob("*")):
        try:
            vendor, kind = (device / "vendor").read_text().strip(), (device / "class").read_text().strip()
        except OSError:
            continue
        if vendor == _VENDOR and kind.startswith(_DISPLAY_CLASS):
            yield device.name


def findings() -> Iterator[Finding]:
    """Yield what there is of NVIDIA's; little where there is no GPU and no wheel for one."""
    present = gpu_found()
    yield _gpu() if present else Finding("nvidia", OK, "no NVIDIA GPU")
    try:
        runtime = onnxruntime()
    except CamrtError:
        return  # told by the providers
    if PROVIDERS["cuda"] in runtime.get_available_providers():
        preload_cuda(runtime)
        names = {*needed(provider_library(runtime, "cuda")), _CUDNN}
        yield _libraries("cuda libraries", names, PROBLEM if present else WARNING, _PIP)
        names = {name for name in needed(provider_library(runtime, "tensorrt")) if name.startswith("libnv")}
        yield _libraries("tensorrt", names, WARNING, f"{_PIP} tensorrt; only --provider tensorrt needs it")


def _gpu() -> Finding:
    if _JETSON.exists():
        words = _JETSON.read_text(errors="replace").splitlines()[0].strip("# ")
        return Finding("nvidia", OK, f"Jetson, {words}; its wheels of ONNX Runtime: https://pypi.jetson-ai-lab.io")
    try:
        done = subprocess.run(_QUERY, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    except FileNotFoundError:
        reason = "nvidia-smi is not installed"
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = f"nvidia-smi does not answer ({type(error).__name__})"
    else:
        if done.returncode == 0 and done.stdout.strip():
            return Finding("nvidia", OK, "; ".join(done.stdout.strip().splitlines()))
        reason = (
            (done.stdout + done.stderr).strip().splitlines()[0] if (done.stdout + done.stderr).strip() else "no GPU"
        )
    if _DRIVER.exists():
        return Finding("nvidia", WARNING, f"a driver is loaded, but {reason}", "nvidia-smi")
    mend = "sudo ubuntu-drivers install, or how your system installs NVIDIA's driver; then reboot"
    return Finding("nvidia", PROBLEM, f"there is a GPU but no driver: {reason}", mend)


def _libraries(subject: str, names: set[str], missing_is: str, mend: str) -> Finding:
    found, lost = [], []
    for name in sorted(names):
        try:
            ctypes.CDLL(name)
        except OSError:
            lost.append(name)
        else:
            if name.startswith(("libcu", "libnv")):
                found.append(f"{name} ({_path_of(name)})")
    wheels = sorted(
        f"{distribution.name} {distribution.version}"
        for distribution in importlib.metadata.distributions()
        if (distribution.name or "").startswith(("nvidia-", "tensorrt"))
    )
    text = f"found: {', '.join(found) or 'none'}; wheels: {', '.join(wheels) or 'none'}"
    if lost:
        return Finding(subject, missing_is, f"missing: {', '.join(lost)}; {text}", mend)
    return Finding(subject, OK, text)


def _path_of(library: str) -> str:
    """Return where a library that is loaded came from."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        if Path(path := line.split(maxsplit=5)[-1]).name.startswith(library):
            return path
    return "loaded"
