"""NumPy twins of the kernels: slow, obvious, in float64. Only the tests use them."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]


def weighted_sum_reference(features: F32 | U8, weights: F32, scale: float = 1.0, zero_point: int = 0) -> F32:
    """Twin of `weighted_sum`: features (C, h, w), weights (k, C) or (C,) -> (k, h, w) or (h, w)."""
    values = (features.astype(np.float64) - zero_point) * scale
    exact: F64 = np.tensordot(weights.astype(np.float64), values, axes=1)
    return exact.astype(np.float32)


def normalize_reference(cams: F32, method: str, value_range: tuple[float, float] | None = None) -> F32:
    """Twin of `normalize`: (..., h, w) -> the same shape, in [0, 1]."""
    result = np.zeros(cams.shape)
    for index in np.ndindex(cams.shape[:-2]):
        cam = cams[index].astype(np.float64)
        finite = np.isfinite(cam)
        values = cam[finite]
        if method == "range":
            assert value_range is not None
            low, high = value_range
        elif values.size == 0 or values.min() == values.max():
            continue
        elif method == "minmax":
            low, high = values.min(), values.max()
        else:
            low, high = 0.0, max(values.max(), 0.0)
        if high > low:
            result[index][finite] = np.clip((values - low) / (high - low), 0.0, 1.0)
    return result.astype(np.float32)


def raise_to_percentile_reference(cams: F32, percent: float) -> F32:
    """Twin of `raise_to_percentile`: (..., h, w) -> the same shape."""
    result = cams.astype(np.float64)
    for index in np.ndindex(cams.shape[:-2]):
        ranked = sorted(float(value) for value in result[index].ravel() if np.isfinite(value))
        place = percent / 100 * (len(ranked) - 1)
        floor = np.interp(place, np.arange(len(ranked)), ranked) if ranked else 0.0
        finite = np.isfinite(result[index])
        result[index][finite] = np.maximum(result[index][finite], floor)
    return result.astype(np.float32)


def principal_map_reference(features: F32 | U8, weights: F32, scale: float = 1.0, zero_point: int = 0) -> F32:
    """Twin of `principal_map`: features (C, h, w), weights (k, C) -> (k, h, w), by a singular value decomposition."""
    values = (features.astype(np.float64) - zero_point) * scale
    maps = []
    for row in weights.astype(np.float64):
        cells = (row[:, np.newaxis, np.newaxis] * values).reshape(len(row), -1).T
        centred = cells - cells.mean(axis=0)
        _, _, components = np.linalg.svd(centred, full_matrices=False)
        projected = centred @ components[0]
        sign = -1.0 if projected @ centred.sum(axis=1) < 0.0 else 1.0
        maps.append((sign * projected).reshape(features.shape[1:]))
    return np.asarray(maps, np.float32)


def sample_reference(heatmap: ArrayLike, width: int, height: int, map_rect: tuple[float, ...] | None = None) -> F64:
    """Sample (h, w) at the centres of width x height pixels that cover ``map_rect``, bilinearly -> (height, width)."""
    cells = np.asarray(heatmap, np.float64)
    map_height, map_width = cells.shape
    u0, v0, u1, v1 = map_rect or (0.0, 0.0, map_width, map_height)

    def positions(count: int, low: float, high: float, size: int) -> F64:
        return np.clip(low + (np.arange(count) + 0.5) * (high - low) / count - 0.5, 0, size - 1)

    x, y = positions(width, u0, u1, map_width), positions(height, v0, v1, map_height)
    rows = np.stack([np.interp(x, np.arange(map_width), row) for row in cells])
    return np.stack([np.interp(y, np.arange(map_height), column) for column in rows.T], axis=1)


def upsample_reference(heatmap: F32, width: int, height: int, map_rect: tuple[float, ...] | None = None) -> F32:
    """Twin of `upsample`: (h, w) -> (height, width)."""
    return sample_reference(heatmap, width, height, map_rect).astype(np.float32)


def resize_reference(image: U8, width: int, height: int, window: tuple[float, ...] | None = None) -> U8:
    """Twin of `resize`: (H, W, 3) -> (height, width, 3)."""
    rows, columns = image.shape[:2]
    x0, y0, x1, y1 = window or (0.0, 0.0, columns, rows)

    def weights(count: int, low: float, high: float, size: int) -> F64:
        step = (high - low) / count
        centres = low + (np.arange(count)[:, np.newaxis] + 0.5) * step
        triangle = np.maximum(0.0, 1.0 - np.abs(np.arange(size) + 0.5 - centres) / max(step, 1.0))
        return np.asarray(triangle / triangle.sum(axis=1, keepdims=True))

    shrunk = np.tensordot(weights(height, y0, y1, rows), image, axes=1)
    exact = np.tensordot(weights(width, x0, x1, columns), shrunk, axes=(1, 1)).transpose(1, 0, 2)
    return np.rint(exact).astype(np.uint8)


def thumbnail_reference(image: U8) -> F32:
    """Twin of `thumbnail`: (H, W, 3) -> (9, 16), from 4 x 4 pixels of each cell."""
    height, width = image.shape[:2]
    rows = [int((number + 0.5) * height / 36) for number in range(36)]
    columns = [int((number + 0.5) * width / 64) for number in range(64)]
    cells: F64 = image[rows][:, columns].reshape(9, 4, 16, 4, 3).mean(axis=(1, 3, 4))
    return cells.astype(np.float32)


def overlay_reference(
    frame: U8,
    cam: F32,
    colors: U8,
    alpha: ArrayLike,
    *,
    method: str = "minmax",
    value_range: tuple[float, float] | None = None,
    rect: tuple[int, int, int, int] | None = None,
    map_rect: tuple[float, float, float, float] | None = None,
) -> U8:
    """Twin of `overlay`; ``colors`` and ``alpha`` are the arguments of `blend_table`."""
    x0, y0, x1, y1 = rect or (0, 0, frame.shape[1], frame.shape[0])
    out = frame.copy()
    if x1 <= x0 or y1 <= y0:
        return out
    values = sample_reference(normalize_reference(cam, method, value_range), x1 - x0, y1 - y0, map_rect)
    entries = np.arange(256) / 255
    opacity = np.interp(values, entries, np.broadcast_to(np.asarray(alpha, np.float64), 256))[..., np.newaxis]
    color = np.stack([np.interp(values, entries, colors[:, channel]) for channel in range(3)], axis=-1)
    blend = (1.0 - opacity) * frame[y0:y1, x0:x1] + opacity * color
    out[y0:y1, x0:x1] = np.rint(blend).astype(np.uint8)
    return out
