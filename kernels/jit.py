"""Compile a kernel, with a cache on disk if a folder is writeable."""

from collections.abc import Callable
from typing import Any

import numba

_problems: list[str] = []
_folders: list[str] = []


def cache_folder() -> str | None:
    """Return the folder of the compiled kernels; None if there is no cache on disk."""
    return _folders[0] if _folders else None


def cache_problem() -> str | None:
    """Return the reason why each process compiles the kernels again; None if the cache on disk works."""
    return _problems[0] if _problems else None


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function at its first call: serial, without the GIL, cached on disk if possible.

    Numba raises at import if no folder is writeable (a read-only install without a home). It raises at the first call
    if the cache cannot be read or saved (a full disk, a damaged file). Both only cost another compilation, so they are
    no errors here; `cache_problem` reports them. The cache does not notice a change in a kernel that a kernel of
    another file calls: after such a change remove the ``__pycache__`` folder.
    """
    try:
        compiled: Any = numba.njit(function, nogil=True, cache=True)
    except RuntimeError as error:
        _problems.append(str(error))
        return numba.njit(function, nogil=True)
    _folders.append(compiled.stats.cache_path)
    cache = compiled._cache  # Numba has no public hook for errors of its cache
    cache.load_overload = _forgiving(cache.load_overload)
    cache.save_overload = _forgiving(cache.save_overload)
    return compiled


def _forgiving(step: Callable[..., Any]) -> Callable[..., Any]:
    """Let a step of the cache record an error and return None, which means "not in the cache" to Numba."""

    def attempt(*arguments: Any) -> Any:
        try:
            return step(*arguments)
        except Exception as error:  # noqa: BLE001 - a damaged file can raise anything when it is unpickled
            _problems.append(f"the kernel cache cannot be used: {type(error).__name__}: {error}")
            return None

    return attempt
