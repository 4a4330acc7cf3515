"""Compiles the kernels; will guard their cache."""


def cache_problem() -> str | None:
    """Return why compiled kernels cannot be kept on disk; None where all is well."""
    return None


def warm_up() -> None:
    """Compile every kernel, or load it from the cache, so that the first frame does not wait for it."""
