"""Paint a class activation map over a frame."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from camrt import kernels
from camrt.errors import UsageError
from camrt.geometry import Placement
from camrt.images import Image
from camrt.runtime.maps.colormaps import COLORMAPS
from camrt.runtime.maps.row_pool import RowPool

Normalization = Literal["minmax", "relu_max", "range"]
_NORMALIZATIONS: Final = get_args(Normalization)


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlayStyle:
    """Style of a map that is painted on a frame. The defaults are those of `DisplaySettings`."""

    colormap: str = "turbo"
    """One of `COLORMAPS`."""
    alpha: float = 0.7
    """Share of the colour in the blend, 0 (frame only) to 1 (colour only)."""
    alpha_by_value: bool = True
    """True: the share grows with the heat, from 0 to ``alpha``, so that cold areas keep the camera's pixels."""
    threshold: float = 0.0
    """Heat below this share of the range keeps the camera's pixels, 0 (none) to 1."""
    normalization: Normalization = "minmax"
    """``minmax`` stretches each map over all colours; ``relu_max`` shows positive evidence, from 0 to the maximum;
    ``range`` uses ``value_range``, so that two images can be compared."""
    value_range: tuple[float, float] | None = None
    """Logits per cell of the first and the last colour, for ``range``."""

    def __post_init__(self) -> None:
        if self.colormap not in COLORMAPS:
            raise UsageError(f"no colour map {self.colormap!r}; known: {', '.join(COLORMAPS)}")
        if not 0.0 <= self.alpha <= 1.0:
            raise UsageError(f"alpha {self.alpha} must be within [0, 1]")
        if not 0.0 <= self.threshold <= 1.0:
            raise UsageError(f"threshold {self.threshold} must be within [0, 1]")
        if self.normalization not in _NORMALIZATIONS:
            raise UsageError(f"no normalization {self.normalization!r}; known: {', '.join(_NORMALIZATIONS)}")
        if (self.normalization == "range") != (self.value_range is not None):
            raise UsageError("normalization 'range' and value_range go together")
        if self.value_range is not None and not -np.inf < self.value_range[0] < self.value_range[1] < np.inf:
            raise UsageError(f"value_range {self.value_range} must rise, from one finite number to another")


def colors(colormap: str) -> NDArray[np.uint8]:
    """Return the 256 colours of a colour map, cold to hot: uint8 (256, 3), BGR."""
    # Two explicit axes: OpenCV 5 reads a one-dimensional array as a row.
    ramp = np.arange(256, dtype=np.uint8).reshape(256, 1)
    return np.ascontiguousarray(cv2.applyColorMap(ramp, getattr(cv2, f"COLORMAP_{colormap.upper()}")).reshape(256, 3))


@lru_cache(maxsize=128)
def _table(colormap: str, alpha: float, by_value: bool, threshold: float) -> Any:
    heat = np.linspace(0.0, 1.0, 256, dtype=np.float32)
    opacity = alpha * heat if by_value else np.float32(alpha)
    # A table with one opacity for all values is faster.
    return kernels.blend_table(colors(colormap), np.where(heat < threshold, 0.0, opacity) if threshold else opacity)


def paint(
    frame: Image,
    cam: NDArray[np.float32],
    placement: Placement,
    style: OverlayStyle,
    *,
    out: Image | None = None,
    pool: RowPool | None = None,
) -> Image:
    """Normalise, upsample, colour and blend a map over a frame, in one pass over its pixels.

    Args:
        frame: uint8 (H, W, 3) BGR.
        cam: float32 (h, w), over the part of the frame that the network saw.
        placement: where that part lies on the frame.
        style: colours, opacity, normalisation.
        out: uint8 (H, W, 3) to fill, may be ``frame``; allocated when None.
        pool: threads that share the rows; None: this thread only.

    Returns: uint8 (H, W, 3), ``out`` if it was given.
    """
    target = np.empty_like(frame) if out is None else out
    table = _table(style.colormap, style.alpha, style.alpha_by_value, style.threshold)
    map_rect = placement.map_rect(cam.shape[1], cam.shape[0])

    def draw(rows: tuple[int, int] | None) -> None:
        kernels.overlay(
            frame,
            cam,
            table,
            method=style.normalization,
            value_range=style.value_range,
            rect=placement.frame_rect,
            map_rect=map_rect,
            out=target,
            rows=rows,
        )

    if pool is None:
        draw(None)
    else:
        pool.run(frame.shape[1], frame.shape[0], draw)
    return target
