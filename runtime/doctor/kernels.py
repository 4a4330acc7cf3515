"""Check the compiled kernels and their cache."""

import time
from collections.abc import Iterator

from camrt.runtime.doctor.finding import OK, PROBLEM, WARNING, Finding, pip


def findings() -> Iterator[Finding]:
    """Yield one finding: whether the kernels compile, in how many seconds, and where their cache is."""
    start = time.perf_counter()
    try:
        from camrt import kernels

        kernels.warm_up()
    except Exception as error:  # noqa: BLE001 - a broken Numba or llvmlite raises anything
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        yield Finding("kernels", PROBLEM, f"cannot be compiled: {reason}", pip("install --force-reinstall numba"))
        return
    seconds = time.perf_counter() - start
    if problem := kernels.cache_problem():
        yield Finding(
            "kernels",
            WARNING,
            f"compiled at every start, in {seconds:.1f} s; set NUMBA_CACHE_DIR to a writable folder to keep them: "
            + problem.splitlines()[0],
            'export NUMBA_CACHE_DIR="$(mktemp -d)"',
        )
    else:
        yield Finding("kernels", OK, f"ready in {seconds:.1f} s, cached in {kernels.cache_folder()}")
