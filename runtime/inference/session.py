"""Open a model with an execution provider of ONNX Runtime that truly runs it."""

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np

from camrt import model_file
from camrt.errors import ModelFileError, ProviderError, UsageError
from camrt.runtime.inference.onnx_header import output_names, refuse_before_opening, with_outputs
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

_OPTIONS: Final[dict[str, dict[str, str]]] = {
    # EXHAUSTIVE, the default, tries every algorithm again for each new batch size: 0.3-1.3 s each.
    "cuda": {"cudnn_conv_algo_search": "HEURISTIC"},
}
# Providers that compute on the processor with threads of their own, and the option that says how many.
_THREAD_OPTION: Final = {"openvino": "num_of_threads", "xnnpack": "intra_op_num_threads"}
# OpenVINO refuses a graph with outputs that no node computes: "cam_weights node not found in graph cache".
_WITHOUT_CONSTANT_OUTPUTS: Final = ("openvino",)
_CONSTANTS: Final = {model_file.CAM_WEIGHTS, model_file.CAM_BIAS}
# What a classifier's time goes to, by a part of the operator's name: QLinearConv and FusedMatMul are among them.
_WORK: Final = ("Conv", "MatMul", "Gemm")
_SILENT, _ERRORS = 4, 3  # severities of ONNX Runtime's log


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A session, and what there is to say of it."""

    session: Any
    """The ``InferenceSession``."""
    provider: str
    """What truly runs it, a key of `PROVIDERS`."""
    constants: dict[str, Any] = field(default_factory=dict)
    """Outputs of the file that the session lacks, for they never change: float32 arrays by name."""
    remarks: Sequence[str] = ()
    """Why ``auto`` passed better providers over, and what of the model the provider leaves to the CPU."""


def open_session(path: Path, provider: str, threads: int, options: Mapping[str, str] | None = None) -> Opened:
    """Open a model with a provider that truly runs it.

    Args:
        path: the ONNX file.
        provider: ``auto``, or a key of `PROVIDERS`.
        threads: threads of one operator on the CPU.
        options: of the provider, as ONNX Runtime names them; they count before those that camrt sets itself.

    Raises:
        MissingExtra: ONNX Runtime is not installed.
        ModelFileError: the file is not a model that ONNX Runtime can load, or needs others beside it.
        ProviderError: the provider was asked for by name and cannot run here, or not with these options.
        UsageError: there is no provider of that name, or the options are nobody's.
    """
    runtime = onnxruntime()
    options = options or {}
    if provider != "auto" and provider not in PROVIDERS:
        raise UsageError(f"no provider {provider!r}; known: auto, {', '.join(PROVIDERS)}")
    _check_options(provider, options)
    available = runtime.get_available_providers()
    refuse_before_opening(path)
    if provider != "auto":
        if PROVIDERS[provider] not in available:
            raise ProviderError(f"provider {provider!r} cannot run: {why_not_built_in(provider, available)}")
        return _open(runtime, path, provider, threads, options)
    passed_over: list[str] = []
    for name in AUTO:
        if PROVIDERS[name] in available:
            try:
                opened = _open(runtime, path, name, threads, options)
            except ProviderError as error:
                passed_over.append(str(error))
            else:
                return replace(opened, remarks=[*passed_over, *opened.remarks])
    raise ProviderError(f"no provider of this ONNX Runtime runs {path}; it has {', '.join(available)}")


def _check_options(provider: str, options: Mapping[str, str]) -> None:
    given = ", ".join(options)
    if options and provider == "auto":
        raise UsageError(f"provider options ({given}) are one provider's: name it, 'auto' may take any")
    if options and provider == "cpu":
        raise UsageError(f"the provider 'cpu' has no options; leave out {given}")
    if (threads := _THREAD_OPTION.get(provider)) in options:
        raise UsageError(f"{threads} is what the number of threads (--threads) sets; say it there")


def _open(runtime: ModuleType, path: Path, provider: str, threads: int, options: Mapping[str, str]) -> Opened:
    if provider in ("cuda", "tensorrt"):
        preload_cuda(runtime)
    model: str | bytes = str(path)
    constants: dict[str, Any] = {}
    create = partial(_create, runtime, provider=provider, threads=threads, options=options)
    try:
        if provider in _WITHOUT_CONSTANT_OUTPUTS:
            model, constants = _without_constants(runtime, path)
        session = create(model)
    except Exception as error:  # ONNX Runtime's own errors share no root but Exception
        raise _refusal(runtime, path, provider, error) from error
    if PROVIDERS[provider] not in session.get_providers():  # ONNX Runtime fell back without a word
        reason = why_not_loaded(runtime, provider) or logged_error(partial(create, model, log_severity=_ERRORS))
        raise ProviderError(f"provider {provider!r} cannot run: {reason or 'no device answers; is its driver there?'}")
    session.disable_fallback()
    session._model_bytes = None  # kept for that fallback, which is disabled
    remarks = [] if provider == "cpu" else _left_to_the_cpu(session, path, provider)
    return Opened(session=session, provider=provider, constants=constants, remarks=remarks)


def _refusal(runtime: ModuleType, path: Path, provider: str, error: BaseException) -> Exception:
    error = error.__cause__ or error  # up to 1.22 it tries the CPU first, whatever it is told, and fails a second time
    if provider == "cpu":
        return ModelFileError(
            f"{path} ({path.stat().st_size} bytes) is not a model that ONNX Runtime {runtime.__version__} can load: "
            f"{reason_of(error)} Copy it again, or make it anew with camrt attach"
        )
    if reason := why_not_loaded(runtime, provider):
        return ProviderError(f"provider {provider!r} cannot run: {reason}")
    reason = reason_of(error)
    if "fallback to CPU EP has been explicitly disabled" in reason:
        reason = (
            f"a part of it, or all, would be computed by the CPU, and ONNX Runtime {runtime.__version__} cannot tell "
            "how much; 1.24 and newer can"
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
    settings.add_session_config_entry("session.load_model_format", "ONNX")  # the one that was looked into
    # What goes wrong is raised; ONNX Runtime's two logs would say it a second and third time.
    settings.log_severity_level = log_severity
    runtime.set_default_logger_severity(log_severity)
    ours = dict(_OPTIONS.get(provider, {}))
    if provider in _THREAD_OPTION:
        ours[_THREAD_OPTION[provider]] = str(threads)
    wanted: list[Any] = [(PROVIDERS[provider], ours | dict(options))]
    if provider != "cpu":
        if hasattr(runtime.InferenceSession, "get_provider_graph_assignment_info"):  # since 1.24
            settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
            wanted.append(PROVIDERS["cpu"])
        else:  # then all that can be known is whether it takes everything
            settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    with contextlib.redirect_stdout(io.StringIO()):  # up to 1.22 it prints that it tries the CPU
        return runtime.InferenceSession(model, settings, providers=wanted, enable_fallback=0)


def _left_to_the_cpu(session: Any, path: Path, provider: str) -> list[str]:
    """Return a remark where a provider leaves work to the CPU; what costs little is not worth one.

    Raises:
        ProviderError: it leaves all the work.
    """
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return []
    taken = left = 0
    for part in session.get_provider_graph_assignment_info():
        work = sum(any(name in node.op_type for name in _WORK) for node in part.get_nodes())
        if part.ep_name == PROVIDERS[provider]:
            taken += work
        else:
            left += work
    if left and not taken:
        raise ProviderError(
            f"provider {provider!r} cannot run {path}: of its {left} convolutions and matrix products it takes none, "
            "the CPU would compute them all; is that device there (camrt doctor)?"
        )
    remark = f"provider {provider!r} leaves {left} of {taken + left} convolutions and matrix products to the CPU"
    return [remark] if left else []


def _without_constants(runtime: ModuleType, path: Path) -> tuple[str | bytes, dict[str, Any]]:
    """Return a model without those outputs that never change, and their values, computed on the CPU."""
    data = path.read_bytes()
    outputs = set(output_names(data))
    if not outputs & _CONSTANTS:
        return str(path), {}
    session = _create(runtime, with_outputs(data, _CONSTANTS), provider="cpu", threads=1, options={})
    image = session.get_inputs()[0]
    black = np.zeros([side if isinstance(side, int) else 1 for side in image.shape], np.uint8)
    names = [node.name for node in session.get_outputs()]
    values = session.run(names, {image.name: black})
    return with_outputs(data, outputs - _CONSTANTS), dict(zip(names, values, strict=True))
