"""The arithmetic on pixels and maps: pure functions on arrays, no I/O, no state. Needs NumPy and Numba."""
