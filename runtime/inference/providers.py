"""Names of ONNX Runtime's execution providers, and reasons why one cannot run."""

import os
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Final

from camrt.errors import MissingExtra
from camrt.loading import load_undisturbed
from camrt.runtime.inference.shared_libraries import missing_libraries, wheels_of

PROVIDERS: Final = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt-rtx": "NvTensorRTRTXExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "webgpu": "WebGpuExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "qnn": "QNNExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
"""camrt's name of each provider, and ONNX Runtime's."""
_SPIN_US: Final = 50
_EXTRAS: Final = {"tensorrt": "gpu", "cuda": "gpu", "openvino": "openvino"}
_DRIVER: Final = "libcuda.so.1"
_OF_DRIVER: Final = (_DRIVER, "libnvidia-ml.so.1")
_LIBRARY_FIXES: Final = {
    "cuda": "run pip install 'onnxruntime-gpu[cuda,cudnn]'",
    "tensorrt": "run pip install 'onnxruntime-gpu[cuda,cudnn]', install TensorRT, and add its folder to "
    "LD_LIBRARY_PATH",
}
# Noise in ONNX Runtime's errors: source locations such as "/src/a.cc:12 void f(const T&) [with T = int] ", and error
# kinds.
_NOISE: Final = re.compile(
    r"\S+\.(?:cc|cpp|h):\d+ .*?\)(?: const)?(?:::<lambda\([^)]*\)>)?(?: \[with [^]]*\])? "
    r"|\[ONNXRuntimeError\] : \d+ : \w+ : |Exception during initialization: |\[ERROR\] |\[OpenVINO(?:-EP)?\] "
    r"|Exception from \S+:\d+: ?"
)
_MAX_LENGTH: Final = 300
_LOGGED_ERROR: Final = re.compile(r"\[E:onnxruntime:[^]]*\] ([^\n\x1b]+)")


def onnxruntime() -> ModuleType:
    """Import ONNX Runtime.

    Raises:
        MissingExtra: no wheel of ONNX Runtime is installed, or the installed one cannot be imported.
    """
    try:
        module = load_undisturbed("onnxruntime")
    except ImportError as error:
        raise MissingExtra(
            f"ONNX Runtime cannot be imported ({error}). Install exactly one of its wheels: pip install 'camrt[cpu]', "
            "'camrt[gpu]' for NVIDIA or 'camrt[openvino]' for Intel. Two wheels overwrite each other"
        ) from error
    if not hasattr(module, "InferenceSession"):
        raise MissingExtra(
            "the onnxruntime package is damaged: probably two of its wheels were installed and one was removed. Run "
            "camrt doctor; it prints the command that fixes it"
        )
    return module


def spin_us() -> int:
    """Return for how many microseconds idle threads of ONNX Runtime spin; 0: they sleep at once.

    Threads that sleep between two operators wake up late. Threads that spin between two runs take cores from capture
    and drawing. So they spin about as long as one operator takes. ONNX Runtime before 1.26 has no time limit for
    spinning, so there they sleep.
    """
    version = tuple(int(part) for part in onnxruntime().__version__.split(".")[:2])
    return _SPIN_US if version >= (1, 26) else 0


def why_not_built_in(provider: str, available: Sequence[str], plugin: str | None) -> str:
    """Explain that a provider is not installed, and how to install it.

    Args:
        provider: a key of `PROVIDERS`.
        available: ONNX Runtime's names of the providers that the installed one has.
        plugin: a wheel that adds the provider to the installed ONNX Runtime; None: there is none.
    """
    wheels = wheels_of("onnxruntime")
    advice = "choose one of those, or --provider auto"
    if plugin:
        advice = f"pip install {plugin}"
    elif extra := _EXTRAS.get(provider):
        names = " ".join(wheel.split()[0] for wheel in wheels)
        advice = (f"pip uninstall -y {names}, then " if names else "") + f"pip install 'camrt[{extra}]'"
    return f"{' and '.join(wheels) or 'this ONNX Runtime'} has only {', '.join(available)}; {advice}"


def why_not_loaded(library: Path, provider: str) -> str | None:
    """Name the missing libraries that a provider's library needs, and how to get them; None if none is missing."""
    missing = missing_libraries(library)
    reasons = []
    if _DRIVER in missing:
        reasons.append(f"there is no NVIDIA driver ({_DRIVER}; nvidia-smi must work)")
    if libraries := [name for name in missing if name not in _OF_DRIVER]:
        fix = _LIBRARY_FIXES.get(provider, "reinstall the wheel of the provider")
        reasons.append(f"{', '.join(libraries)} cannot be loaded: {fix}")
    return "; and ".join(reasons) or None


def reason_of(error: BaseException) -> str:
    """Return the text of an error of ONNX Runtime on one line, without source locations."""
    return _shorten(str(error)) or type(error).__name__


def logged_error(attempt: Callable[[], object]) -> str | None:
    """Return the first error that ONNX Runtime writes to standard error during an attempt that is expected to fail.

    ONNX Runtime writes only to its log why it skipped a provider. Other output during the attempt is lost.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with tempfile.TemporaryFile() as log:
            os.dup2(log.fileno(), 2)
            try:
                attempt()
            except Exception:  # noqa: BLE001 - the log has the reason
                pass
            finally:
                os.dup2(saved, 2)
            log.seek(0)
            match = _LOGGED_ERROR.search(log.read().decode("utf-8", "replace"))
    finally:
        os.close(saved)
    return _shorten(match[1]) if match else None


def _shorten(text: str) -> str:
    text = " ".join(_NOISE.sub("", " ".join(text.split()) + " ").split())
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}..."
