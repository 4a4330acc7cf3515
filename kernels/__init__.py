"""Pure functions on pixels and maps: no I/O, no state. Needs NumPy and Numba."""

import numpy as np

from camrt.kernels.blend_table import BlendTable, blend_table
from camrt.kernels.jit import cache_folder, cache_problem
from camrt.kernels.maps import normalize, weighted_sum
from camrt.kernels.overlay import overlay
from camrt.kernels.refinement import principal_map, raise_to_percentile
from camrt.kernels.regions import Box, boxes
from camrt.kernels.resize import resize
from camrt.kernels.thumbnail import thumbnail
from camrt.kernels.upsample import upsample

__all__ = [
    "BlendTable",
    "Box",
    "blend_table",
    "boxes",
    "cache_folder",
    "cache_problem",
    "normalize",
    "overlay",
    "principal_map",
    "raise_to_percentile",
    "resize",
    "thumbnail",
    "upsample",
    "warm_up",
    "weighted_sum",
]


def warm_up() -> None:
    """Compile every kernel, or load it from the cache, so that the first frame does not wait."""
    weighted_sum(np.ones((2, 3, 3), np.uint8), np.ones(2, np.float32))
    cam = weighted_sum(np.ones((2, 3, 3), np.float32), np.ones(2, np.float32))
    upsample(normalize(cam), 4, 4)
    boxes(np.eye(2, dtype=np.float32), [0.5])
    image = np.zeros((4, 4, 3), np.uint8)
    resize(image, 2, 2)
    thumbnail(image)
    overlay(image, cam, blend_table(np.zeros((256, 3), np.uint8), 0.5))
