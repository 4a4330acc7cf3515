"""Open a model file with an execution provider of ONNX Runtime that really runs it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np

from camrt import model_file
from camrt.errors import CamrtError, ModelFileError, ProviderError, TimeLimitExceeded, UsageError
from camrt.file_kind import describe_custom_operators
from camrt.runtime.inference.captured_runs import NOT_USED, GraphCapture
from camrt.runtime.inference.create_session import THREAD_OPTION, create_session
from camrt.runtime.inference.head_part import HeadPart, head_part
from camrt.runtime.inference.onnx_header import (
    check_before_opening,
    custom_operators,
)
from camrt.runtime.inference.onnx_part import output_names, part_for_outputs
from camrt.runtime.inference.pinned_memory import pinned_allocator
from camrt.runtime.inference.plugins import PLUGINS, is_plugin, loads_plugins
from camrt.runtime.inference.precision import FP32, file_precision, precision_remarks
from camrt.runtime.inference.providers import (
    PROVIDERS,
    logged_error,
    onnxruntime,
    reason_of,
    why_not_built_in,
    why_not_loaded,
)
from camrt.runtime.inference.shared_libraries import preload_cuda, provider_library

# OpenVINO rejects a graph with outputs that no node computes: "cam_weights node not found in graph cache".
_WITHOUT_CONSTANT_OUTPUTS: Final = ("openvino",)
_CONSTANTS: Final = {model_file.CAM_WEIGHTS, model_file.CAM_BIAS}
# Parts of the names of expensive operators; they match QLinearConv and FusedMatMul, too.
_EXPENSIVE: Final = ("Conv", "MatMul", "Gemm")
_GRAPH_OPTION: Final = "enable_cuda_graph"
_ERRORS: Final = 3  # a severity of ONNX Runtime's log


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedSession:
    """A session of ONNX Runtime, its provider, and remarks for the user."""

    session: Any
    """The ``InferenceSession``."""
    provider: str
    """The provider that runs it, a key of `PROVIDERS`."""
    part: HeadPart
    """The head that it computes."""
    constants: dict[str, Any] = field(default_factory=dict)
    """Constant outputs of the file that the session does not compute: float32 arrays by name."""
    precision: str = FP32
    """Precision of the file, from `camrt.runtime.inference.precision.file_precision`."""
    capture: GraphCapture | None = None
    """How it captures CUDA graphs; None: it does not."""
    remarks: Sequence[str] = ()
    """The part of the model that the provider leaves to the CPU, and how it computes the rest."""


def open_session(
    path: Path, provider: str, threads: int, options: Mapping[str, str] | None = None, head: str | None = None
) -> OpenedSession:
    """Open a model file with a provider that really runs it.

    Args:
        path: the ONNX file.
        provider: a key of `PROVIDERS`.
        threads: threads of one operator on the CPU.
        options: options of the provider, as ONNX Runtime names them. They override those that camrt sets.
        head: of a file with several: the head to compute; None: the first.

    Raises:
        MissingExtra: ONNX Runtime is not installed.
        ModelFileError: ONNX Runtime cannot load the file, or the file needs other files.
        ProviderError: the named provider cannot run here, or not with these options.
        UsageError: the provider is unknown or does not take these options, or the file has no such head.
    """
    runtime = onnxruntime()
    options = options or {}
    if provider not in PROVIDERS:
        raise UsageError(f"no provider {provider!r}; known: auto, {', '.join(PROVIDERS)}")
    if options and provider == "cpu":
        raise UsageError(f"the provider 'cpu' has no options; leave out {', '.join(options)}")
    if (option := THREAD_OPTION.get(provider)) in options:
        raise UsageError(f"camrt sets {option} from the number of threads; use --threads instead")
    check_before_opening(path)
    part = head_part(path, head)
    if not is_installed(runtime, provider):
        plugin = PLUGINS[provider].wheel if provider in PLUGINS and loads_plugins(runtime) else None
        reason = why_not_built_in(provider, runtime.get_available_providers(), plugin)
        raise ProviderError(f"provider {provider!r} cannot run: {reason}")
    open_with = partial(_open, runtime, path, part, provider, threads)
    opened = _with_graphs(open_with, path, options) if _wants_graphs(provider, options) else open_with(options)
    precision = file_precision(path)
    remarks = [*opened.remarks, *precision_remarks(precision, provider, options)]
    return replace(opened, precision=precision, remarks=remarks)


def _wants_graphs(provider: str, options: Mapping[str, str]) -> bool:
    return provider == "cuda" and options.get(_GRAPH_OPTION, "1").lower() in ("1", "true")


def _with_graphs(
    open_with: Callable[[Mapping[str, str]], OpenedSession], path: Path, options: Mapping[str, str]
) -> OpenedSession:
    """Open a session that captures CUDA graphs, or one without if the model cannot be captured."""
    without = {**options, _GRAPH_OPTION: "0"}
    try:
        opened = open_with({**options, _GRAPH_OPTION: "1"})
    except ProviderError as error:  # an operator on the CPU, or control flow; or CUDA does not run at all
        opened = open_with(without)
        reason = str(error).removeprefix(f"provider 'cuda' cannot run {path}: ")
        return replace(opened, remarks=[*opened.remarks, NOT_USED + reason])
    number = int(options.get("device_id", "0"))
    capture = GraphCapture("cuda", number, lambda: open_with(without).session, pinned_allocator)
    return replace(opened, capture=capture)


def is_installed(runtime: ModuleType, provider: str) -> bool:
    """Return whether a provider is part of this ONNX Runtime, or an installed plug-in."""
    return PROVIDERS[provider] in runtime.get_available_providers() or is_plugin(runtime, provider)


def _open(
    runtime: ModuleType, path: Path, part: HeadPart, provider: str, threads: int, options: Mapping[str, str]
) -> OpenedSession:
    if provider in ("cuda", "tensorrt"):
        preload_cuda(runtime)
    model = part.model
    constants: dict[str, Any] = {}
    create = partial(create_session, runtime, provider=provider, threads=threads, options=options)
    try:
        if provider in _WITHOUT_CONSTANT_OUTPUTS:
            model, constants = _without_constants(runtime, part)
        session = create(model)
    except TimeLimitExceeded as error:
        raise TimeLimitExceeded(f"{path} cannot be opened: {error}") from error
    except CamrtError:  # of a plug-in
        raise
    except Exception as error:  # ONNX Runtime's own errors share no root but Exception
        raise _open_error(runtime, path, provider, error) from error
    if PROVIDERS[provider] not in session.get_providers():  # ONNX Runtime fell back silently
        reason = why_not_loaded(provider_library(runtime, provider), provider) or logged_error(
            partial(create, model, log_severity=_ERRORS)
        )
        raise ProviderError(f"provider {provider!r} cannot run: {reason or 'no device found; check its driver'}")
    session.disable_fallback()
    session._model_bytes = None  # only the disabled fallback needs them
    remarks = [] if provider == "cpu" else _cpu_share(session, path, provider)
    return OpenedSession(session=session, provider=provider, part=part, constants=constants, remarks=remarks)


def _open_error(runtime: ModuleType, path: Path, provider: str, error: BaseException) -> Exception:
    if operators := custom_operators(path):
        return ModelFileError(f"{path} {describe_custom_operators(operators)}")
    error = error.__cause__ or error  # up to 1.22 ONNX Runtime retries on the CPU in any case and fails again
    if provider == "cpu":
        return ModelFileError(
            f"{path} ({path.stat().st_size} bytes) is not a model that ONNX Runtime {runtime.__version__} can load: "
            f"{reason_of(error)} Copy it again, or create it again with camrt attach"
        )
    if reason := why_not_loaded(provider_library(runtime, provider), provider):
        return ProviderError(f"provider {provider!r} cannot run: {reason}")
    reason = reason_of(error)
    if "fallback to CPU EP has been explicitly disabled" in reason:
        reason = (
            f"the CPU would compute a part of it, or all. ONNX Runtime {runtime.__version__} does not report how much; "
            "1.24 and newer do"
        )
    return ProviderError(f"provider {provider!r} cannot run {path}: {reason}")


def _cpu_share(session: Any, path: Path, provider: str) -> list[str]:
    """Return a remark if a provider leaves expensive operators to the CPU.

    Raises:
        ProviderError: it leaves all of them to the CPU.
    """
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return []
    own = on_cpu = 0
    for part in session.get_provider_graph_assignment_info():
        count = sum(any(name in node.op_type for name in _EXPENSIVE) for node in part.get_nodes())
        if part.ep_name == PROVIDERS[provider]:
            own += count
        else:
            on_cpu += count
    if on_cpu and not own:
        raise ProviderError(
            f"provider {provider!r} cannot run {path}: it takes none of the {on_cpu} convolutions and matrix products, "
            "so the CPU would compute them all. Check the device with camrt doctor"
        )
    remark = f"provider {provider!r} leaves {on_cpu} of {own + on_cpu} convolutions and matrix products to the CPU"
    return [remark] if on_cpu else []


def _without_constants(runtime: ModuleType, part: HeadPart) -> tuple[str | bytes, dict[str, Any]]:
    """Return a model without its constant outputs, and their values, computed on the CPU."""
    data = part.model if isinstance(part.model, bytes) else Path(part.model).read_bytes()
    outputs = set(output_names(data))
    names = {model_file.output_of(part.further, name): name for name in _CONSTANTS}
    constants = outputs & names.keys()
    if not constants:
        return part.model, {}
    session = create_session(runtime, part_for_outputs(data, constants), provider="cpu", threads=1, options={})
    image = session.get_inputs()[0]
    black = np.zeros([side if isinstance(side, int) else 1 for side in image.shape], np.uint8)
    order = [node.name for node in session.get_outputs()]
    values = session.run(order, {image.name: black})
    return part_for_outputs(data, outputs - constants), dict(zip((names[name] for name in order), values, strict=True))
