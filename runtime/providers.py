"""Which execution provider of ONNX Runtime runs a model, and why one does not."""

import contextlib
import ctypes
import importlib.metadata
import io
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from camrt.errors import MissingExtra, ModelFileError, ProviderError, UsageError
from camrt.loading import load_undisturbed

PROVIDERS: Final = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
# Best first. TensorRT is left to those who ask for it: it builds an engine for minutes before the first frame.
_AUTO: Final = ("cuda", "coreml", "cpu")
_SPIN_US: Final = 50
_OPTIONS: Final[dict[str, dict[str, str]]] = {
    # EXHAUSTIVE, the default, tries every algorithm again for each new batch size: 0.3-1.3 s each.
    "cuda": {"cudnn_conv_algo_search": "HEURISTIC"},
}


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
            "or 'camrt[gpu]' for NVIDIA; never both, they overwrite each other"
        ) from error
    if not hasattr(module, "InferenceSession"):
        raise MissingExtra(
            "the onnxruntime package is damaged, as happens when the CPU and the GPU wheel were both installed and one "
            "was removed. Mend it: pip uninstall -y onnxruntime onnxruntime-gpu, then pip install 'camrt[cpu]' or "
            "'camrt[gpu]'"
        )
    return module


def spin_us() -> int:
    """Return how long threads of ONNX Runtime spin when they have nothing to do; 0: they sleep at once.

    Threads that sleep between two operators wake up late; those that spin between two runs take the cores that capture
    and drawing need. So they spin as long as one operator may take; before 1.26 it is far too long, or not at all.
    """
    version = tuple(int(part) for part in onnxruntime().__version__.split(".")[:2])
    return _SPIN_US if version >= (1, 26) else 0


def open_session(path: Path, provider: str, threads: int) -> tuple[Any, str, list[str]]:
    """Open a model with a provider that truly runs it.

    Args:
        path: the ONNX file.
        provider: ``auto``, or a key of `PROVIDERS`.
        threads: threads of one operator on the CPU.

    Returns: the ``InferenceSession``, the name of its provider, a key of `PROVIDERS`, and why each better one that
        ``auto`` tried was passed over.

    Raises:
        MissingExtra: ONNX Runtime is not installed.
        ModelFileError: the file is not a model that ONNX Runtime can load.
        ProviderError: the provider was asked for by name and cannot run here.
        UsageError: there is no provider of that name.
    """
    runtime = onnxruntime()
    if provider != "auto" and provider not in PROVIDERS:
        raise UsageError(f"no provider {provider!r}; known: auto, {', '.join(PROVIDERS)}")
    available = runtime.get_available_providers()
    if provider != "auto":
        if PROVIDERS[provider] not in available:
            raise ProviderError(f"provider {provider!r} cannot run: {_why_not_built_in(provider, available)}")
        return _open(runtime, path, provider, threads), provider, []
    passed_over: list[str] = []
    for name in _AUTO:
        if PROVIDERS[name] in available:
            try:
                return _open(runtime, path, name, threads), name, passed_over
            except ProviderError as error:
                passed_over.append(str(error))
    raise ProviderError(f"no provider of this ONNX Runtime runs {path}; it has {', '.join(available)}")


def _open(runtime: ModuleType, path: Path, provider: str, threads: int) -> Any:
    if provider in ("cuda", "tensorrt") and hasattr(runtime, "preload_dlls"):
        # Finds the CUDA and cuDNN wheels in site-packages, which the loader of the system does not. What it prints
        # about those it misses is said once, by the error below.
        with contextlib.redirect_stdout(io.StringIO()):
            runtime.preload_dlls()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    if spin := spin_us():
        options.add_session_config_entry("session.intra_op.spin_duration_us", str(spin))
    else:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # What goes wrong is raised; ONNX Runtime's two logs would say it a second and third time.
    options.log_severity_level = 4
    runtime.set_default_logger_severity(4)
    wanted: list[Any] = [(PROVIDERS[provider], _OPTIONS.get(provider, {}))]
    if provider != "cpu":
        wanted.append(PROVIDERS["cpu"])
    try:
        session = runtime.InferenceSession(str(path), options, providers=wanted, enable_fallback=0)
    except Exception as error:  # ONNX Runtime's own errors share no root but Exception
        if provider != "cpu":
            raise ProviderError(f"provider {provider!r} cannot run {path}: {_first_line(error)}") from error
        raise ModelFileError(
            f"{path} ({path.stat().st_size} bytes) is not a model that ONNX Runtime {runtime.__version__} can load: "
            f"{_first_line(error)} Copy it again, or make it anew with camrt attach"
        ) from error
    if PROVIDERS[provider] not in session.get_providers():  # ONNX Runtime fell back without a word
        raise ProviderError(f"provider {provider!r} cannot run: {_why_not_loaded(runtime, provider)}")
    session.disable_fallback()
    return session


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _why_not_built_in(provider: str, available: Sequence[str]) -> str:
    """Explain why the installed ONNX Runtime does not even name a provider."""
    wheels = sorted(
        {
            f"{distribution.name} {distribution.version}"
            for distribution in importlib.metadata.distributions()
            if (distribution.name or "").startswith("onnxruntime")
        }
    )
    advice = "choose one of those, or --provider auto"
    if provider in ("cuda", "tensorrt"):
        advice = "for NVIDIA: pip uninstall -y onnxruntime, then pip install 'camrt[gpu]'"
    return f"{' and '.join(wheels) or 'this ONNX Runtime'} has only {', '.join(available)}; {advice}"


def _why_not_loaded(runtime: ModuleType, provider: str) -> str:
    """Explain why a provider that ONNX Runtime names did not load: the first library that is missing."""
    folder = Path(str(runtime.__file__)).parent / "capi"
    library = folder / f"libonnxruntime_providers_{provider}.so"
    if library.is_file():
        try:
            ctypes.CDLL(str(folder / "libonnxruntime_providers_shared.so"), ctypes.RTLD_GLOBAL)
            ctypes.CDLL(str(library))
        except OSError as error:
            return (
                f"{error}. Install the CUDA and cuDNN libraries that onnxruntime-gpu {runtime.__version__} needs: "
                "pip install 'onnxruntime-gpu[cuda,cudnn]'"
            )
    return "its libraries load, but no device answers; is there an NVIDIA driver (nvidia-smi)?"
