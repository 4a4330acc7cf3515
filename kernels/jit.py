"""Compile a kernel, with a cache on disk where there can be one."""

from collections.abc import Callable
from typing import Any

import numba

_problems: list[str] = []
_folders: list[str] = []


def cache_folder() -> str | None:
    """Return the folder in which compiled kernels are kept; None where there can be none."""
    return _folders[0] if _folders else None


def cache_problem() -> str | None:
    """Return why kernels are compiled anew in each process; None where the cache on disk works."""
    return _problems[0] if _problems else None


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function when it is first called: serial, without the GIL, cached on disk where that works.

    Numba raises at import where no folder can be written (a read-only install without a home) and at the first call
    where the cache cannot be read or saved (a full disk, a damaged file). Both only cost compiling again, so neither
    is an error here; `cache_problem` tells. The cache does not notice a change in a kernel that another file's kernel
    calls: who edits one removes the ``__pycache__`` folder.
    """
    try:
        compiled: Any = numba.njit(function, nogil=True, cache=True)
    except RuntimeError as error:
        _problems.append(str(error))
        return numba.njit(function, nogil=True)
    _folders.append(compiled.stats.cache_path)
    cache = compiled._cache  # Numba has no public place to catch what its cache raises
    cache.load_overload = _forgiving(cache.load_overload)
    cache.save_overload = _forgiving(cache.save_overload)
    return compiled


def _forgiving(step: Callable[..., Any]) -> Callable[..., Any]:
    """Make a step of the cache report what goes wrong and return None, which Numba takes for "not in the cache"."""

    def attempt(*arguments: Any) -> Any:
        try:
            return step(*arguments)
        except Exception as error:  # noqa: BLE001 - a damaged file can raise anything when it is unpickled
            _problems.append(f"the kernel cache cannot be used: {type(error).__name__}: {error}")
            return None

    return attempt
