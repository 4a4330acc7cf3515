"""The arithmetic on pixels and maps: pure functions on arrays, no I/O, no state. Needs NumPy and Numba."""

import numpy as np

from camrt.kernels.blend_table import BlendTable, blend_table
from camrt.kernels.jit import cache_folder, cache_problem
from camrt.kernels.maps import normalize, weighted_sum
from camrt.kernels.overlay import overlay
from camrt.kernels.upsample import upsample

__all__ = [
    "BlendTable",
    "blend_table",
    "cache_folder",
    "cache_problem",
    "normalize",
    "overlay",
    "upsample",
    "warm_up",
    "weighted_sum",
]


def warm_up() -> None:
    """Compile every kernel, or load it from the cache, so that the first frame does not wait for it."""
    weighted_sum(np.ones((2, 3, 3), np.uint8), np.ones(2, np.float32))
    cam = weighted_sum(np.ones((2, 3, 3), np.float32), np.ones(2, np.float32))
    upsample(normalize(cam), 4, 4)
    overlay(np.zeros((4, 4, 3), np.uint8), cam, blend_table(np.zeros((256, 3), np.uint8), 0.5))
