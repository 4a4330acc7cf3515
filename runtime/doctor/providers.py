"""Check the execution providers: which ONNX Runtime has, and which run the demo model."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from camrt.errors import CamrtError
from camrt.runtime.assets import DEMO_MODEL
from camrt.runtime.doctor import nvidia
from camrt.runtime.doctor.finding import OK, PROBLEM, WARNING, Finding, swap
from camrt.runtime.inference.captured_runs import MAX_BATCH, MAX_SIZES, NOT_USED, PAGEABLE
from camrt.runtime.inference.model import Model, load
from camrt.runtime.inference.plugins import PLUGINS, is_plugin, loads_plugins
from camrt.runtime.inference.providers import PROVIDERS, onnxruntime
from camrt.runtime.inference.session import is_installed
from camrt.runtime.inference.shared_libraries import wheels_of

_OF_NVIDIA: Final = ("cuda", "tensorrt")


def findings() -> Iterator[Finding]:
    """Yield one finding per available provider, and one about the missing ones."""
    try:
        runtime = onnxruntime()
    except CamrtError:
        return  # a finding of the packages
    absent = [name for name in PROVIDERS if not is_installed(runtime, name)]
    for name in reversed(PROVIDERS):  # the CPU first; TensorRT, which is slow to start, last
        if name not in absent:
            yield _try(name, wheels_of(PLUGINS[name].package) if is_plugin(runtime, name) else [])
    text = f"not in this ONNX Runtime: {', '.join(absent)}"
    if "cuda" in absent and nvidia.gpu_found():
        yield Finding("providers", WARNING, f"{text}, but this machine has an NVIDIA GPU", _with_libraries())
    elif absent:
        wheels = ", ".join(PLUGINS[name].wheel for name in absent if name in PLUGINS and loads_plugins(runtime))
        plugins = f"; wheels to add: {wheels}" if wheels else ""
        yield Finding(
            "providers", OK, f"{text} (NVIDIA's are in the extra gpu, Intel's in the extra openvino{plugins})"
        )


def _try(name: str, plugin: list[str]) -> Finding:
    """Run the demo model with a provider, which comes from the wheels of a plug-in if there are any."""
    subject = f"provider {name}"
    try:
        model = load(DEMO_MODEL, name, threads=1)
        model(np.zeros((480, 640, 3), np.uint8))
    except CamrtError as error:
        reason = str(error).removeprefix(f"provider {name!r} ")
    else:
        source = f", from {' and '.join(plugin)}" if plugin else ""
        text = "; ".join([f"runs the demo model in {model.running_precision}{source}", *describe_graphs(model)])
        return Finding(subject, OK, text)
    if name == "cpu":
        return Finding(subject, PROBLEM, reason, swap("onnxruntime", "onnxruntime"))
    if name in _OF_NVIDIA and not nvidia.gpu_found():  # missing libraries do not matter then
        return Finding(subject, WARNING, "cannot run: there is no NVIDIA GPU", swap("onnxruntime", "onnxruntime"))
    if name == "cuda":
        return Finding(subject, PROBLEM, reason, _with_libraries())
    return Finding(subject, WARNING, reason)  # auto skips such a provider


def describe_graphs(model: Model) -> list[str]:
    """Return how a model uses CUDA graphs and how much memory they take at most; empty on other providers."""
    notes = [remark for remark in model.remarks if remark.startswith((NOT_USED, PAGEABLE))]
    if model.graph_sizes:
        notes.append(
            f"captures CUDA graphs for up to {MAX_SIZES} batch sizes of at most {MAX_BATCH} images; the buffers of "
            f"this model's graphs take at most {model.graph_bytes_limit / 1e6:.0f} MB of the GPU's memory"
        )
    return notes


def _with_libraries() -> str | None:
    """Return the command that installs CUDA's provider with its libraries; None on a Jetson, which has its own."""
    return None if nvidia.JETSON.exists() else swap("onnxruntime", "'onnxruntime-gpu[cuda,cudnn]'")
