"""ONNX Runtime as this room uses it: on the CPU, silent, its errors told as ours."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from camrt.errors import ExportError, MissingExtra
from camrt.loading import load_undisturbed

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Array = NDArray[Any]


def version() -> str:
    """Return ONNX Runtime's version. Raises: MissingExtra."""
    return str(_onnxruntime().__version__)


def open_session(model: ModelProto, what: str) -> "InferenceSession":
    """Open a model on the CPU provider; ``what`` is what messages call it. Raises: MissingExtra, ExportError."""
    onnxruntime = _onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised; its log would only repeat it on the terminal
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except _errors() as error:
        raise ExportError(f"ONNX Runtime {version()} cannot open {what}: {plain(error)}") from error


def run(session: "InferenceSession", names: list[str] | None, image: Array, what: str) -> list[Array]:
    """Run a session of one input. Raises: ExportError, with the node that failed."""
    try:
        result: list[Array] = session.run(names, {session.get_inputs()[0].name: image})
    except _errors() as error:
        raise ExportError(f"{what} fails with a batch of {len(image)}: {plain(error)}") from error
    return result


def run_constant(model: ModelProto) -> Array:
    """Run a model without inputs and return its one output."""
    session = open_session(model, "the constants of the head")
    return np.asarray(session.run(None, {})[0])


def _onnxruntime() -> Any:
    try:
        return load_undisturbed("onnxruntime")
    except ImportError as error:
        raise MissingExtra(
            f"verifying a model file needs ONNX Runtime, which cannot be imported ({error}): pip install 'camrt[cpu]'"
        ) from error


def _errors() -> tuple[type[Exception], ...]:
    # ONNX Runtime has one exception class for each status code, and no common root but Exception.
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    codes = [value for value in vars(state).values() if isinstance(value, type) and issubclass(value, Exception)]
    return (*codes, RuntimeError)


def plain(error: Exception) -> str:
    """Return what an error says, on one line."""
    return " ".join(str(error).split("\n", 1)[0].split()).removeprefix("[ONNXRuntimeError] : ")
