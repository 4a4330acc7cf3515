"""Check the execution providers: which ONNX Runtime has, and which run the demo model."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from camrt.errors import CamrtError
from camrt.runtime.assets import DEMO_MODEL
from camrt.runtime.doctor import nvidia
from camrt.runtime.doctor.finding import OK, PROBLEM, WARNING, Finding, swap
from camrt.runtime.inference.model import load
from camrt.runtime.inference.providers import PROVIDERS, onnxruntime

_OF_NVIDIA: Final = ("cuda", "tensorrt")


def findings() -> Iterator[Finding]:
    """Yield one finding per available provider, and one about the missing ones."""
    try:
        available = onnxruntime().get_available_providers()
    except CamrtError:
        return  # a finding of the packages
    for name in reversed(PROVIDERS):  # the CPU first; TensorRT, which is slow to start, last
        if PROVIDERS[name] in available:
            yield _try(name)
    absent = [name for name in PROVIDERS if PROVIDERS[name] not in available]
    text = f"not in this ONNX Runtime: {', '.join(absent)}"
    if "cuda" in absent and nvidia.gpu_found():
        yield Finding("providers", WARNING, f"{text}, but this machine has an NVIDIA GPU", _with_libraries())
    elif absent:
        yield Finding("providers", OK, f"{text} (NVIDIA's are in the extra gpu, Intel's in the extra openvino)")


def _try(name: str) -> Finding:
    subject = f"provider {name}"
    try:
        model = load(DEMO_MODEL, name, threads=1)
        model(np.zeros((480, 640, 3), np.uint8))
    except CamrtError as error:
        reason = str(error).removeprefix(f"provider {name!r} ")
    else:
        return Finding(subject, OK, "runs the demo model")
    if name == "cpu":
        return Finding(subject, PROBLEM, reason, swap("onnxruntime", "onnxruntime"))
    if name in _OF_NVIDIA and not nvidia.gpu_found():  # missing libraries do not matter then
        return Finding(subject, WARNING, "cannot run: there is no NVIDIA GPU", swap("onnxruntime", "onnxruntime"))
    if name == "cuda":
        return Finding(subject, PROBLEM, reason, _with_libraries())
    return Finding(subject, WARNING, reason)  # auto skips such a provider


def _with_libraries() -> str | None:
    """Return the command that installs CUDA's provider with its libraries; None on a Jetson, which has its own."""
    return None if nvidia.JETSON.exists() else swap("onnxruntime", "'onnxruntime-gpu[cuda,cudnn]'")
