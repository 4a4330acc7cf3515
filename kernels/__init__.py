"""The arithmetic on pixels and maps: pure functions on arrays, no I/O, no state. Needs NumPy and Numba."""

from camrt.kernels.jit import cache_problem, warm_up
from camrt.kernels.maps import normalize, upsample, weighted_sum
from camrt.kernels.overlay import BlendTable, blend_table, overlay

__all__ = ["BlendTable", "blend_table", "cache_problem", "normalize", "overlay", "upsample", "warm_up", "weighted_sum"]
