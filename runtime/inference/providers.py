"""The execution providers of ONNX Runtime by name, and why one does not run."""

import os
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Final

from camrt.errors import MissingExtra
from camrt.loading import load_undisturbed
from camrt.runtime.inference.shared_libraries import missing, provider_library, wheels_of

PROVIDERS: Final = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "qnn": "QNNExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
"""What camrt calls them, and what ONNX Runtime does."""
AUTO: Final = ("cuda", "coreml", "cpu")
"""What ``auto`` tries, best first.

TensorRT is left to those who ask for it: it builds an engine for minutes before the first frame. So is OpenVINO, which
is not faster on every processor, and computes quantized models in its own way.
"""
_SPIN_US: Final = 50
_EXTRAS: Final = {"tensorrt": "gpu", "cuda": "gpu", "openvino": "openvino"}
_DRIVER: Final = "libcuda.so.1"
_LIBRARIES: Final = {
    "cuda": "pip install 'onnxruntime-gpu[cuda,cudnn]'",
    "tensorrt": "pip install 'onnxruntime-gpu[cuda,cudnn]', then TensorRT, and name its folder in LD_LIBRARY_PATH",
}
# What ONNX Runtime's errors say of its own source: "/src/a.cc:12 void f(const T&) [with T = int] ", and of their kind.
_SOURCE: Final = re.compile(
    r"\S+\.(?:cc|cpp|h):\d+ .*?\)(?: const)?(?:::<lambda\([^)]*\)>)?(?: \[with [^]]*\])? "
    r"|\[ONNXRuntimeError\] : \d+ : \w+ : |Exception during initialization: |\[ERROR\] |\[OpenVINO(?:-EP)?\] "
    r"|Exception from \S+:\d+: ?"
)
_LONGEST: Final = 300
_LOGGED_ERROR: Final = re.compile(r"\[E:onnxruntime:[^]]*\] ([^\n\x1b]+)")


def onnxruntime() -> ModuleType:
    """Import ONNX Runtime, or say which extra brings it.

    Raises:
        MissingExtra: no wheel of ONNX Runtime is installed, or the installed one cannot be imported.
    """
    try:
        module = load_undisturbed("onnxruntime")
    except ImportError as error:
        raise MissingExtra(
            f"ONNX Runtime cannot be imported ({error}). Install one of its wheels: pip install 'camrt[cpu]', "
            "'camrt[gpu]' for NVIDIA or 'camrt[openvino]' for Intel; never two, they overwrite each other"
        ) from error
    if not hasattr(module, "InferenceSession"):
        raise MissingExtra(
            "the onnxruntime package is damaged, as happens when two of its wheels were installed and one was removed; "
            "the command that mends it: camrt doctor"
        )
    return module


def spin_us() -> int:
    """Return how long threads of ONNX Runtime spin when they have nothing to do; 0: they sleep at once.

    Threads that sleep between two operators wake up late; those that spin between two runs take the cores that capture
    and drawing need. So they spin as long as one operator may take; before 1.26 it is far too long, or not at all.
    """
    version = tuple(int(part) for part in onnxruntime().__version__.split(".")[:2])
    return _SPIN_US if version >= (1, 26) else 0


def why_not_built_in(provider: str, available: Sequence[str]) -> str:
    """Explain why the installed ONNX Runtime does not even name a provider, and how to get one that does."""
    found = wheels_of("onnxruntime")
    advice = "choose one of those, or --provider auto"
    if extra := _EXTRAS.get(provider):
        remove = " ".join(wheel.split()[0] for wheel in found)
        advice = (f"pip uninstall -y {remove}, then " if remove else "") + f"pip install 'camrt[{extra}]'"
    return f"{' and '.join(found) or 'this ONNX Runtime'} has only {', '.join(available)}; {advice}"


def why_not_loaded(runtime: ModuleType, provider: str) -> str | None:
    """Name the libraries that a provider needs and that are not here, and how to get them; None: it lacks none."""
    lost = missing(provider_library(runtime, provider))
    reasons = []
    if _DRIVER in lost:
        reasons.append(f"there is no NVIDIA driver ({_DRIVER}; nvidia-smi must answer)")
    if libraries := [name for name in lost if name != _DRIVER]:
        mend = _LIBRARIES.get(provider, "reinstall the wheel of ONNX Runtime")
        reasons.append(f"{', '.join(libraries)} cannot be loaded; what brings them: {mend}")
    return "; and ".join(reasons) or None


def reason_of(error: BaseException) -> str:
    """Return what an error of ONNX Runtime says, on one line, without where in its source it was raised."""
    return _in_short(str(error)) or type(error).__name__


def logged_error(attempt: Callable[[], object]) -> str | None:
    """Return the first error that ONNX Runtime writes to the standard error during an attempt that is to fail.

    It tells in its log only why it left a provider out. Whatever else is written meanwhile is lost.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with tempfile.TemporaryFile() as log:
            os.dup2(log.fileno(), 2)
            try:
                attempt()
            except Exception:  # noqa: BLE001 - why it fails is being asked
                pass
            finally:
                os.dup2(kept, 2)
            log.seek(0)
            found = _LOGGED_ERROR.search(log.read().decode("utf-8", "replace"))
    finally:
        os.close(kept)
    return _in_short(found[1]) if found else None


def _in_short(text: str) -> str:
    text = " ".join(_SOURCE.sub("", " ".join(text.split()) + " ").split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
