"""Run graphs in ONNX Runtime: on the CPU, without log output, within a time limit, its errors raised as ExportError."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from camrt.errors import ExportError, MissingExtra, TimeLimitExceeded
from camrt.export.error_text import first_line
from camrt.loading import load_undisturbed
from camrt.time_limit import cancelled_after

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Array = NDArray[Any]

LIMIT_S = 300.0
"""Seconds after which opening or running a graph is cancelled: a file may hold a loop without an end."""


def onnxruntime_version() -> str:
    """Return ONNX Runtime's version. Raises: MissingExtra."""
    return str(_onnxruntime().__version__)


def open_session(model: ModelProto, name: str) -> "InferenceSession":
    """Open a model on the CPU provider.

    Args:
        model: the model.
        name: the model's name in error messages.

    Raises:
        MissingExtra: ONNX Runtime is not installed.
        ExportError: ONNX Runtime cannot open the model.
        TimeLimitExceeded: it takes longer than `LIMIT_S`.
    """
    onnxruntime = _onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised; the log would repeat them on the terminal
    version = onnxruntime_version()
    with cancelled_after(LIMIT_S, lambda: options.set_load_cancellation_flag(True)) as is_late:
        try:
            return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except _error_types() as error:
            if is_late():
                raise TimeLimitExceeded(f"ONNX Runtime {version} did not open {name} within {LIMIT_S:g} s") from error
            raise ExportError(f"ONNX Runtime {version} cannot open {name}: {first_line(error)}") from error


def run_session(session: "InferenceSession", outputs: list[str] | None, batch: Array, name: str) -> list[Array]:
    """Run a session that has one input.

    Args:
        session: from `open_session`.
        outputs: names of the outputs to return; None: all of them.
        batch: the input, (N, ...).
        name: the model's name in error messages.

    Raises:
        ExportError: the run fails; the message has ONNX Runtime's name of the node.
        TimeLimitExceeded: it takes longer than `LIMIT_S`.
    """
    return _run(session, outputs, {session.get_inputs()[0].name: batch}, f"{name} fails with a batch of {len(batch)}")


def run_constant(model: ModelProto) -> Array:
    """Run a model that has no inputs and return its one output. Raises: as `run_session`."""
    session = open_session(model, "the constants of the classifier")
    return np.asarray(_run(session, None, {}, "the constants of the classifier cannot be computed")[0])


def _run(session: "InferenceSession", outputs: list[str] | None, feeds: dict[str, Array], failure: str) -> list[Array]:
    options = _onnxruntime().RunOptions()
    with cancelled_after(LIMIT_S, lambda: setattr(options, "terminate", True)) as is_late:
        try:
            return list(session.run(outputs, feeds, options))
        except _error_types() as error:
            if is_late():
                raise TimeLimitExceeded(
                    f"{failure} within {LIMIT_S:g} s; if it holds a loop, export it again without one"
                ) from error
            raise ExportError(f"{failure}: {first_line(error)}") from error


def _onnxruntime() -> Any:
    try:
        return load_undisturbed("onnxruntime")
    except ImportError as error:
        raise MissingExtra(
            f"verifying a model file needs ONNX Runtime, which cannot be imported ({error}): pip install 'camrt[cpu]'"
        ) from error


def _error_types() -> tuple[type[Exception], ...]:
    # ONNX Runtime has one exception class for each status code, and no common root but Exception.
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    types = [value for value in vars(state).values() if isinstance(value, type) and issubclass(value, Exception)]
    return (*types, RuntimeError)
