"""Execution providers: which the installed ONNX Runtime has, and which truly run the bundled model."""

from collections.abc import Iterator
from pathlib import Path

from camrt.errors import CamrtError
from camrt.runtime.doctor import nvidia
from camrt.runtime.doctor.finding import OK, PROBLEM, WARNING, Finding
from camrt.runtime.providers import PROVIDERS, onnxruntime
from camrt.runtime.session import open_session

_DEMO = Path(__file__).parents[1] / "assets" / "demo.onnx"


def findings() -> Iterator[Finding]:
    """Yield what each provider does with the demo model."""
    try:
        available = onnxruntime().get_available_providers()
    except CamrtError as error:
        yield Finding("providers", PROBLEM, str(error), "pip install --force-reinstall 'camrt[cpu]'")
        return
    gpu = nvidia.gpu_found()
    absent = [name for name in PROVIDERS if PROVIDERS[name] not in available]
    # The slowest last: TensorRT builds an engine first.
    for name in reversed([name for name in PROVIDERS if name not in absent]):
        yield _try(name, gpu_found=gpu)
    if absent:
        wheels = "'camrt[gpu]' has those of NVIDIA, 'camrt[openvino]' Intel's"
        if gpu and "cuda" in absent:
            yield Finding(
                "providers",
                WARNING,
                f"this wheel lacks {', '.join(absent)}, though there is an NVIDIA GPU",
                "pip uninstall -y onnxruntime && pip install 'camrt[gpu]'",
            )
        else:
            yield Finding("providers", OK, f"this wheel lacks {', '.join(absent)}; {wheels}")


def _try(name: str, *, gpu_found: bool) -> Finding:
    subject = f"provider {name}"
    try:
        open_session(_DEMO, name, threads=1)
    except CamrtError as error:
        said = str(error).removeprefix(f"provider {name!r} ")
        # What nobody asked for is no problem: auto passes it over.
        broken = name == "cpu" or (name == "cuda" and gpu_found)
        return Finding(subject, PROBLEM if broken else WARNING, said, _mend(name, gpu_found=gpu_found))
    return Finding(subject, OK, "runs the demo model")


def _mend(name: str, *, gpu_found: bool) -> str:
    if name == "cpu":
        return "pip install --force-reinstall 'camrt[cpu]'"
    if name == "cuda" and gpu_found:
        return "pip install 'onnxruntime-gpu[cuda,cudnn]'"
    if name == "cuda":
        return "without an NVIDIA GPU: pip uninstall -y onnxruntime-gpu && pip install 'camrt[cpu]'"
    if name == "tensorrt":
        return "only --provider tensorrt needs it: pip install 'onnxruntime-gpu[cuda,cudnn]' tensorrt"
    return "leave --provider out, or name another"
