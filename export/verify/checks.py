"""Checks that every model file must pass before it is written."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from camrt.errors import ExportError
from camrt.model_file import CAM_BIAS, CAM_WEIGHTS

F64 = NDArray[np.float64]
Outputs = Mapping[str, NDArray[Any]]
"""The outputs of a model file by their names."""

TOLERANCE = 1e-4
"""Largest error: of the scores absolute; of logits, features and the identity relative to the largest number."""
HALF_TOLERANCE = 5e-3
"""The same for networks that compute in 16-bit floats (their spacing is 1e-3)."""


def check_valid(model: ModelProto) -> None:
    """Raise ExportError unless a model is valid ONNX."""
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise ExportError(f"the new graph is not valid ONNX: {error}") from error


def check_finite(outputs: Outputs) -> None:
    """Raise ExportError if an output holds NaN or infinite numbers."""
    for name, values in outputs.items():
        if not np.isfinite(values).all():
            raise ExportError(f"verification failed: output {name} holds NaN or infinite numbers; nothing was written")


def relative_error(values: NDArray[Any], expected: NDArray[Any]) -> float:
    """Return the largest difference, divided by the largest expected number."""
    scale = float(np.abs(expected).max())
    return float(np.abs(values.astype(np.float64) - expected).max()) / (scale or 1.0)


def rebuild_logits(outputs: Outputs, pooled: F64) -> F64:
    """Return the logits that the maps add up to: the mean of a class's map plus its bias (Zhou et al. 2016, section 2).

    Args:
        outputs: of the model file; without weights, what is pooled are the class maps.
        pooled: (N, C), the mean of each map over rows and columns.

    Returns: (N, K).
    """
    weights = outputs.get(CAM_WEIGHTS)
    means: F64 = pooled if weights is None else pooled @ weights.T.astype(np.float64)
    return means + outputs[CAM_BIAS] if CAM_BIAS in outputs else means


def identity_error(rebuilt: F64, logits: F64) -> float:
    """Return the largest difference of (N, K) logits from what the maps add up to, relative to the image's largest."""
    absolute = np.abs(rebuilt - logits).max(axis=1)  # (N,)
    largest = np.abs(logits).max(axis=1)
    return float(np.max(absolute / np.where(largest > 0, largest, 1)))


class Checks:
    """Records errors, and stops at the first that exceeds its tolerance."""

    def __init__(self, tolerance: float) -> None:
        self.tolerance = tolerance
        self.record: dict[str, Any] = {}
        """For the metadata."""

    def add(self, name: str, failure: str, error: float, tolerance: float | None = None) -> None:
        """Record an error.

        Args:
            name: its key in the record.
            failure: what an error above the tolerance means, for the message.
            error: the error that was measured.
            tolerance: None: that of all checks.

        Raises:
            ExportError: the error exceeds the tolerance.
        """
        limit = self.tolerance if tolerance is None else tolerance
        if not error <= limit:
            raise ExportError(
                f"verification failed: {failure} (error {error:.3g}, tolerance {limit:.3g}); nothing was written"
            )
        self.record[name] = error

    def add_identity(self, failure: str, rebuilt: F64, logits: F64, tolerance: float) -> None:
        """Record the difference between logits and what the maps add up to, relative to each image's largest logit.

        Args:
            failure: as in `add`.
            rebuilt: (N, K), from `rebuild_logits`.
            logits: (N, K).
            tolerance: of the relative error.

        Raises:
            ExportError: the error exceeds the tolerance.
        """
        self.add("identity_error", failure, identity_error(rebuilt, logits), tolerance)
        absolute = float(np.abs(rebuilt - logits).max())
        self.record |= {"identity_error_absolute": absolute, "identity_tolerance": tolerance}

    def add_batch(self, batch: NDArray[Any], singles: NDArray[Any], tolerance: float | None = None) -> None:
        """Record the difference between the logits of images in one batch and of the same images one by one.

        Raises:
            ExportError: the error exceeds the tolerance.
        """
        failure = "two images in one batch give other logits than one by one: the batch is mixed"
        self.add("batch_error", failure, relative_error(batch, singles), tolerance)
