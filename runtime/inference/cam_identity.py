"""CAM identity: a check at run time that the shown maps add up to the logits."""

from dataclasses import dataclass

import numpy as np

from camrt.runtime.inference.model import Model
from camrt.runtime.maps.result import Result

TOLERANCE = 1e-4
"""Largest relative error, unless the file states one: float32 sums in another order differ."""


@dataclass(frozen=True, slots=True)
class IdentityCheck:
    """Largest distance of ``mean(CAM_k) + bias_k`` from ``logit_k`` over all classes k."""

    relative: float
    """Relative to the magnitude of the largest logit."""
    absolute: float
    """In logits."""
    tolerance: float
    """Limit of ``relative``; larger if the file states it, as for a quantized head or 16-bit floats."""

    @property
    def holds(self) -> bool:
        """True if the error is within the tolerance; NaN is not."""
        return self.relative <= self.tolerance


def check_identity(model: Model, result: Result) -> IdentityCheck:
    """Compare the mean of every class's map with its logit (Zhou et al. 2016, arXiv:1512.04150, section 2)."""
    means = result.cams().mean(axis=(1, 2), dtype=np.float64)
    absolute = float(np.abs(means + result.decoder.cam_bias - result.logits).max())
    scale = max(float(np.abs(result.logits).max()), float(np.finfo(np.float32).tiny))
    stated = model.info.verification
    tolerance = max(TOLERANCE, float(stated.get("identity_tolerance", 0)))
    if "identity_tolerance_absolute" in stated:
        tolerance = max(TOLERANCE, float(stated["identity_tolerance_absolute"]) / scale)
    return IdentityCheck(absolute / scale, absolute, tolerance)
