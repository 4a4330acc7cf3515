"""Weighted sum of feature maps, and normalisation of maps."""

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from camrt.kernels.jit import kernel

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
Method = Literal["minmax", "relu_max", "range"]

_MINMAX: Final = 0
_RELU_MAX: Final = 1
_RANGE: Final = 2
_METHODS: Final = {"minmax": _MINMAX, "relu_max": _RELU_MAX, "range": _RANGE}
_LAYOUT: Final = ("C", "A", "W")


def weighted_sum(
    features: F32 | U8, weights: F32, out: F32 | None = None, *, scale: float = 1.0, zero_point: int = 0
) -> F32:
    """Return class activation maps: the sum of the feature maps over their channels, weighted by the linear layer.

    Args:
        features: (C, h, w), the maps before the pool: float32, or uint8 from a quantized network.
        weights: (k, C) float32, one row a class; or (C,), one row.
        out: (k, h, w), or (h, w), C-contiguous float32 buffer to fill; allocated when None.
        scale: of the numbers in ``features``: value = (number - zero_point) * scale.
        zero_point: see ``scale``.

    Returns:
        (k, h, w), or (h, w), float32 class activation maps in logits, not normalised; ``out`` if it was given. The
        float64 sum runs over the raw numbers; zero point and scale are applied once a cell.

    Raises:
        ValueError: the shapes do not match.

    Source: Zhou et al. 2016, arXiv:1512.04150, equation 2.
    """
    if features.ndim != 3 or weights.ndim not in (1, 2) or weights.shape[-1] != features.shape[0]:
        raise ValueError(f"weights {weights.shape} and features {features.shape} must be (k, C) or (C,), and (C, h, w)")
    channels, height, width = features.shape
    shape = (*weights.shape[:-1], height, width)
    result = buffer(out, shape)
    classes = weights.shape[0] if weights.ndim == 2 else 1
    cells = height * width
    dtype = np.uint8 if features.dtype == np.uint8 else np.float32
    _weighted_sum(
        np.require(features, dtype, _LAYOUT).reshape(channels, cells),
        canonical(weights).reshape(classes, channels),
        float(scale),
        float(zero_point),
        result.reshape(classes, cells),
    )
    return result


@kernel
def _weighted_sum(features, weights, scale, zero_point, out):  # type: ignore[no-untyped-def]
    channels, cells = features.shape
    total = np.empty(cells, np.float64)
    for k in range(len(weights)):
        total[:] = 0.0
        weight_of_all = 0.0
        for c in range(channels):  # the inner loop runs along the memory and vectorises
            weight = np.float64(weights[k, c])
            weight_of_all += weight
            for i in range(cells):
                total[i] += weight * features[c, i]
        for i in range(cells):
            out[k, i] = (total[i] - zero_point * weight_of_all) * scale


def normalize(
    cams: F32, method: Method = "minmax", value_range: tuple[float, float] | None = None, out: F32 | None = None
) -> F32:
    """Scale each map to [0, 1].

    Args:
        cams: (..., h, w) float32, in logits.
        method: ``minmax``: the least value becomes 0, the greatest 1. ``relu_max``: negative values become 0, the
            greatest 1. ``range``: ``value_range`` becomes 0 to 1, and values outside are clipped.
        value_range: (low, high) in logits, low < high; only for ``range``.
        out: C-contiguous float32 buffer of the shape of ``cams``, may be ``cams``; allocated when None.

    Returns:
        float32 in [0, 1], ``out`` if it was given. A constant map becomes 0, except with ``range``. Cells that are NaN
        or infinite become 0 and are ignored in the least and the greatest value.

    Raises:
        ValueError: an unknown method, or a range that is missing, not finite or does not rise.
    """
    if method not in _METHODS:
        raise ValueError(f"unknown method {method!r}; use one of {', '.join(_METHODS)}")
    if cams.ndim < 2:
        raise ValueError(f"maps must be (..., h, w), not {cams.shape}")
    low, high = 0.0, 0.0
    if method == "range":
        low, high = (np.nan, np.nan) if value_range is None else map(float, value_range)
        if not (low < high and np.isfinite(high - low)):
            raise ValueError(f"method 'range' needs a finite value_range that rises, not {value_range}")
    result = buffer(out, cams.shape)
    if result.size:
        cells = cams.shape[-2] * cams.shape[-1]
        _normalize(canonical(cams).reshape(-1, cells), _METHODS[method], low, high, result.reshape(-1, cells))
    return result


@kernel
def _normalize(cams, method, low, high, out):  # type: ignore[no-untyped-def]
    maps, cells = cams.shape
    for m in range(maps):
        if method != _RANGE:
            low, high = np.inf, -np.inf
            for i in range(cells):
                value = np.float64(cams[m, i])
                if np.isfinite(value):
                    low, high = min(low, value), max(high, value)
            if high <= low:  # a constant map, or a map without finite cells
                high = -np.inf
            elif method == _RELU_MAX:
                low = 0.0
        rises = high > low
        for i in range(cells):
            value = np.float64(cams[m, i])
            if rises and np.isfinite(value):
                out[m, i] = min(max((value - low) / (high - low), 0.0), 1.0)
            else:
                out[m, i] = 0.0


def canonical(array: F32) -> F32:
    """Return the array in the form that the kernels are compiled for: float32, C-contiguous, aligned, writeable."""
    if array.dtype == np.float32 and array.flags.carray:  # np.require takes 2 us
        return array
    return np.require(array, np.float32, _LAYOUT)


def buffer(out: F32 | None, shape: tuple[int, ...]) -> F32:
    """Return ``out`` after a check, or a new float32 buffer. Raises: ValueError."""
    if out is None:
        return np.empty(shape, np.float32)
    if out.shape != shape or out.dtype != np.float32 or not (out.flags.carray and out.flags.c_contiguous):
        raise ValueError(f"out must be writeable C-contiguous float32 {shape}, not {out.dtype} {out.shape}")
    return out
