"""Check the NVIDIA GPU, its driver, and the libraries that the CUDA and TensorRT providers need."""

import ctypes
import importlib.metadata
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from camrt.errors import CamrtError
from camrt.runtime.doctor.finding import OK, PROBLEM, WARNING, Finding
from camrt.runtime.inference.providers import PROVIDERS, onnxruntime
from camrt.runtime.inference.shared_libraries import needed_libraries, preload_cuda, provider_library

JETSON: Final = Path("/etc/nv_tegra_release")
_PCI: Final = Path("/sys/bus/pci/devices")
_VENDOR, _DISPLAY_CLASS = "0x10de", "0x03"
_DRIVER: Final = Path("/proc/driver/nvidia/version")
_WSL_DRIVER: Final = Path("/usr/lib/wsl/lib/libcuda.so.1")  # WSL: Windows has the driver, and no bus has the GPU
_QUERY: Final = ("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")
_TIMEOUT_S: Final = 20
_CUDNN: Final = "libcudnn.so.9"


def gpu_found() -> bool:
    """Return whether this machine has an NVIDIA GPU, with or without a driver."""
    return any(path.exists() for path in (JETSON, _DRIVER, _WSL_DRIVER)) or any(_gpus_on_bus())


def _gpus_on_bus() -> Iterator[str]:
    for device in sorted(_PCI.glob("*")):
        try:
            vendor, kind = (device / "vendor").read_text().strip(), (device / "class").read_text().strip()
        except OSError:
            continue
        if vendor == _VENDOR and kind.startswith(_DISPLAY_CLASS):
            yield device.name


def findings() -> Iterator[Finding]:
    """Yield findings about the GPU with its driver, and about the CUDA libraries if a wheel needs them."""
    yield _gpu() if gpu_found() else Finding("nvidia", OK, "no NVIDIA GPU")
    try:
        runtime = onnxruntime()
    except CamrtError:
        return  # a finding of the packages
    if PROVIDERS["cuda"] in runtime.get_available_providers():
        preload_cuda(runtime)
        libraries = (provider_library(runtime, name) for name in ("cuda", "tensorrt"))
        yield _libraries({name for library in libraries for name in needed_libraries(library)})


def _gpu() -> Finding:
    if JETSON.exists():
        release = JETSON.read_text(errors="replace").splitlines()[0].strip("# ")
        return Finding("nvidia", OK, f"Jetson, {release}; ONNX Runtime wheels for it: https://pypi.jetson-ai-lab.io")
    try:
        done = subprocess.run(_QUERY, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except FileNotFoundError:
        reason = "nvidia-smi is not installed"
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = f"nvidia-smi does not answer ({type(error).__name__})"
    else:
        lines = (done.stdout + done.stderr).strip().splitlines() or ["nvidia-smi prints nothing"]
        if done.returncode == 0:
            return Finding("nvidia", OK, "; ".join(lines))
        reason = lines[0]
    if _DRIVER.exists() or _WSL_DRIVER.exists():
        fix = "sudo reboot" if "mismatch" in reason else None  # the driver was updated, and the old one still runs
        return Finding("nvidia", WARNING, f"a driver is loaded, but {reason}", fix)
    fix = "sudo ubuntu-drivers install && sudo reboot" if shutil.which("ubuntu-drivers") else None
    return Finding("nvidia", PROBLEM, f"the GPU has no driver ({reason}): https://www.nvidia.com/drivers", fix)


def _libraries(names: set[str]) -> Finding:
    """List the libraries of this machine; a missing one is a finding of the provider that needs it."""
    loaded = []
    for name in sorted(name for name in names | {_CUDNN} if name.startswith(("libcu", "libnv"))):
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        loaded.append(f"{name} ({_path_of(name)})")
    wheels = sorted(
        f"{distribution.name} {distribution.version}"
        for distribution in importlib.metadata.distributions()
        if (distribution.name or "").startswith(("nvidia-", "tensorrt"))
    )
    return Finding("cuda", OK, f"libraries: {', '.join(loaded) or 'none'}; wheels: {', '.join(wheels) or 'none'}")


def _path_of(library: str) -> str:
    """Return the path of a loaded library."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        if Path(path := line.split(maxsplit=5)[-1]).name.startswith(library):
            return path
    return "loaded"
