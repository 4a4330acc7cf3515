"""Open a model file with an execution provider of ONNX Runtime that really runs it."""

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np

from camrt import model_file
from camrt.errors import ModelFileError, ProviderError, TimeLimitExceeded, UsageError
from camrt.file_kind import describe_custom_operators
from camrt.runtime.inference.head_part import HeadPart, head_part
from camrt.runtime.inference.onnx_header import (
    check_before_opening,
    custom_operators,
)
from camrt.runtime.inference.onnx_part import output_names, part_for_outputs
from camrt.runtime.inference.providers import (
    AUTO,
    PROVIDERS,
    logged_error,
    onnxruntime,
    reason_of,
    spin_us,
    why_not_built_in,
    why_not_loaded,
)
from camrt.runtime.inference.shared_libraries import preload_cuda
from camrt.time_limit import cancelled_after

_OPTIONS: Final[dict[str, dict[str, str]]] = {
    # EXHAUSTIVE, the default, re-tunes for each new batch size: 0.3-1.3 s per size.
    "cuda": {"cudnn_conv_algo_search": "HEURISTIC"},
}
# Providers that compute on the processor with their own threads, and the option for the number of threads.
_THREAD_OPTION: Final = {"openvino": "num_of_threads", "xnnpack": "intra_op_num_threads"}
# OpenVINO rejects a graph with outputs that no node computes: "cam_weights node not found in graph cache".
_WITHOUT_CONSTANT_OUTPUTS: Final = ("openvino",)
_CONSTANTS: Final = {model_file.CAM_WEIGHTS, model_file.CAM_BIAS}
# Parts of the names of expensive operators; they match QLinearConv and FusedMatMul, too.
_EXPENSIVE: Final = ("Conv", "MatMul", "Gemm")
LIMIT_S: Final = 120.0
"""Seconds after which opening a file on the CPU, or its first run, is cancelled."""
_SILENT, _ERRORS = 4, 3  # severities of ONNX Runtime's log


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
    remarks: Sequence[str] = ()
    """Why ``auto`` skipped better providers, and which part of the model the provider leaves to the CPU."""


def open_session(
    path: Path, provider: str, threads: int, options: Mapping[str, str] | None = None, head: str | None = None
) -> OpenedSession:
    """Open a model file with a provider that really runs it.

    Args:
        path: the ONNX file.
        provider: ``auto``, or a key of `PROVIDERS`.
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
    if provider != "auto" and provider not in PROVIDERS:
        raise UsageError(f"no provider {provider!r}; known: auto, {', '.join(PROVIDERS)}")
    _check_options(provider, options)
    available = runtime.get_available_providers()
    check_before_opening(path)
    part = head_part(path, head)
    if provider != "auto":
        if PROVIDERS[provider] not in available:
            raise ProviderError(f"provider {provider!r} cannot run: {why_not_built_in(provider, available)}")
        return _open(runtime, path, part, provider, threads, options)
    skipped: list[str] = []
    for name in AUTO:
        if PROVIDERS[name] in available:
            try:
                candidate = _open(runtime, path, part, name, threads, options)
            except ProviderError as error:
                skipped.append(str(error))
            else:
                return replace(candidate, remarks=[*skipped, *candidate.remarks])
    raise ProviderError(f"no provider of this ONNX Runtime runs {path}; it has {', '.join(available)}")


def _check_options(provider: str, options: Mapping[str, str]) -> None:
    names = ", ".join(options)
    if options and provider == "auto":
        raise UsageError(f"provider options ({names}) need an explicit --provider; they cannot be used with 'auto'")
    if options and provider == "cpu":
        raise UsageError(f"the provider 'cpu' has no options; leave out {names}")
    if (threads := _THREAD_OPTION.get(provider)) in options:
        raise UsageError(f"camrt sets {threads} from the number of threads; use --threads instead")


def _open(
    runtime: ModuleType, path: Path, part: HeadPart, provider: str, threads: int, options: Mapping[str, str]
) -> OpenedSession:
    if provider in ("cuda", "tensorrt"):
        preload_cuda(runtime)
    model = part.model
    constants: dict[str, Any] = {}
    create = partial(_create, runtime, provider=provider, threads=threads, options=options)
    try:
        if provider in _WITHOUT_CONSTANT_OUTPUTS:
            model, constants = _without_constants(runtime, part)
        session = create(model)
    except TimeLimitExceeded as error:
        raise TimeLimitExceeded(f"{path} cannot be opened: {error}") from error
    except Exception as error:  # ONNX Runtime's own errors share no root but Exception
        raise _open_error(runtime, path, provider, error) from error
    if PROVIDERS[provider] not in session.get_providers():  # ONNX Runtime fell back silently
        reason = why_not_loaded(runtime, provider) or logged_error(partial(create, model, log_severity=_ERRORS))
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
    if reason := why_not_loaded(runtime, provider):
        return ProviderError(f"provider {provider!r} cannot run: {reason}")
    reason = reason_of(error)
    if "fallback to CPU EP has been explicitly disabled" in reason:
        reason = (
            f"the CPU would compute a part of it, or all. ONNX Runtime {runtime.__version__} does not report how much; "
            "1.24 and newer do"
        )
    return ProviderError(f"provider {provider!r} cannot run {path}: {reason}")


def _create(
    runtime: ModuleType,
    model: str | bytes,
    *,
    provider: str,
    threads: int,
    options: Mapping[str, str],
    log_severity: int = _SILENT,
) -> Any:
    settings = runtime.SessionOptions()
    settings.intra_op_num_threads = 1 if provider in _THREAD_OPTION else threads
    settings.inter_op_num_threads = 1
    if spin := spin_us():
        settings.add_session_config_entry("session.intra_op.spin_duration_us", str(spin))
    else:
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.add_session_config_entry("session.load_model_format", "ONNX")  # the format that `onnx_header` checks
    # Errors are raised; ONNX Runtime's two logs would repeat them.
    settings.log_severity_level = log_severity
    runtime.set_default_logger_severity(log_severity)
    defaults = dict(_OPTIONS.get(provider, {}))
    if provider in _THREAD_OPTION:
        defaults[_THREAD_OPTION[provider]] = str(threads)
    providers: list[Any] = [(PROVIDERS[provider], defaults | dict(options))]
    if provider != "cpu":
        if hasattr(runtime.InferenceSession, "get_provider_graph_assignment_info"):  # since 1.24
            settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
            providers.append(PROVIDERS["cpu"])
        else:  # older versions only report whether the provider takes the whole model
            settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    limit_s = LIMIT_S if hasattr(settings, "set_load_cancellation_flag") else None  # since 1.21
    with (
        contextlib.redirect_stdout(io.StringIO()),  # up to 1.22 it prints that it tries the CPU
        _within_limit(provider, limit_s, lambda: settings.set_load_cancellation_flag(True)),
    ):
        return runtime.InferenceSession(model, settings, providers=providers, enable_fallback=0)


def run_first(session: Any, provider: str, outputs: Sequence[str], feeds: Mapping[str, Any]) -> list[Any]:
    """Run a session that was not run before.

    Raises:
        TimeLimitExceeded: it takes longer than `LIMIT_S` on the CPU. Other providers may compile a graph for minutes.
        Exception: an error of ONNX Runtime.
    """
    options = onnxruntime().RunOptions()
    with _within_limit(provider, LIMIT_S, lambda: setattr(options, "terminate", True)):
        return list(session.run(outputs, feeds, options))


@contextlib.contextmanager
def _within_limit(provider: str, limit_s: float | None, cancel: Callable[[], None]) -> Iterator[None]:
    if provider != "cpu" or limit_s is None:
        yield
        return
    with cancelled_after(limit_s, cancel) as is_late:
        try:
            yield
        except Exception as error:
            if is_late():
                raise TimeLimitExceeded(f"it takes more than {limit_s:g} s, and may never end") from error
            raise


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
    session = _create(runtime, part_for_outputs(data, constants), provider="cpu", threads=1, options={})
    image = session.get_inputs()[0]
    black = np.zeros([side if isinstance(side, int) else 1 for side in image.shape], np.uint8)
    order = [node.name for node in session.get_outputs()]
    values = session.run(order, {image.name: black})
    return part_for_outputs(data, outputs - constants), dict(zip((names[name] for name in order), values, strict=True))
