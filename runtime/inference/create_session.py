"""Create a session of ONNX Runtime with one execution provider, and run it for the first time."""

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, Final

from camrt.errors import TimeLimitExceeded
from camrt.runtime.inference.plugins import choose_device, is_plugin, plugin_devices
from camrt.runtime.inference.providers import PROVIDERS, onnxruntime, spin_us
from camrt.time_limit import cancelled_after

_OPTIONS: Final[dict[str, dict[str, str]]] = {
    # EXHAUSTIVE, the default, re-tunes for each new batch size: 0.3-1.3 s per size.
    "cuda": {"cudnn_conv_algo_search": "HEURISTIC"},
}
THREAD_OPTION: Final = {"openvino": "num_of_threads", "xnnpack": "intra_op_num_threads"}
"""Providers that compute on the processor with their own threads, and the option for the number of threads."""
LIMIT_S: Final = 120.0
"""Seconds after which opening a file on the CPU, or its first run, is cancelled."""
_SILENT: Final = 4  # a severity of ONNX Runtime's log


def create_session(
    runtime: ModuleType,
    model: str | bytes,
    *,
    provider: str,
    threads: int,
    options: Mapping[str, str],
    log_severity: int = _SILENT,
) -> Any:
    """Return an ``InferenceSession``; ONNX Runtime may have replaced the provider by the CPU.

    Args:
        runtime: the package ``onnxruntime``.
        model: path of an ONNX file, or its bytes.
        provider: a key of `camrt.runtime.inference.providers.PROVIDERS`.
        threads: threads of one operator on the CPU.
        options: options of the provider; they override camrt's.
        log_severity: least severity of the messages that ONNX Runtime writes to standard error.

    Raises:
        ProviderError, UsageError: as `camrt.runtime.inference.plugins` does.
        TimeLimitExceeded: it takes longer than `LIMIT_S` on the CPU.
        Exception: an error of ONNX Runtime.
    """
    settings = runtime.SessionOptions()
    settings.intra_op_num_threads = 1 if provider in THREAD_OPTION else threads
    settings.inter_op_num_threads = 1
    if spin := spin_us():
        settings.add_session_config_entry("session.intra_op.spin_duration_us", str(spin))
    else:
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.add_session_config_entry("session.load_model_format", "ONNX")  # the format that `onnx_header` checks
    # Errors are raised; ONNX Runtime's two logs would repeat them.
    settings.log_severity_level = log_severity
    runtime.set_default_logger_severity(log_severity)
    reports_share = hasattr(runtime.InferenceSession, "get_provider_graph_assignment_info")  # since 1.24
    if provider != "cpu":
        if reports_share:
            settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        else:  # older versions only report whether the provider takes the whole model
            settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    limit_s = LIMIT_S if hasattr(settings, "set_load_cancellation_flag") else None  # since 1.21
    with (
        contextlib.redirect_stdout(io.StringIO()),  # up to 1.22 it prints that it tries the CPU
        _within_limit(provider, limit_s, lambda: settings.set_load_cancellation_flag(True)),
    ):
        if is_plugin(runtime, provider):
            device, own_options = choose_device(provider, plugin_devices(runtime, provider), threads, options)
            settings.add_provider_for_devices([device], own_options)
            return runtime.InferenceSession(model, settings, enable_fallback=0)
        defaults = dict(_OPTIONS.get(provider, {}))
        if provider in THREAD_OPTION:
            defaults[THREAD_OPTION[provider]] = str(threads)
        providers: list[Any] = [(PROVIDERS[provider], defaults | dict(options))]
        if provider != "cpu" and reports_share:
            providers.append(PROVIDERS["cpu"])
        return runtime.InferenceSession(model, settings, providers=providers, enable_fallback=0)


def graph_options(number: int | None) -> Any:
    """Return options (``RunOptions``) to run on CUDA with the captured graph of a number from 1; None: without one."""
    options = onnxruntime().RunOptions()
    options.add_run_config_entry("gpu_graph_id", "-1" if number is None else str(number))
    return options


def run_first(session: Any, provider: str, outputs: Sequence[str], feeds: Mapping[str, Any]) -> list[Any]:
    """Run a session that was not run before.

    Raises:
        TimeLimitExceeded: it takes longer than `LIMIT_S` on the CPU. Other providers may compile a graph for minutes.
        Exception: an error of ONNX Runtime.
    """
    options = graph_options(None)
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
