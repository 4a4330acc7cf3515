"""Fill new memory with a known value, to tell a buffer that was never written from a picture."""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_M_PERTURB: Final = -6  # glibc fills memory with the complement of this parameter when it is allocated
_lock = threading.Lock()


@contextmanager
def poisoned_memory(value: int) -> Iterator[bool]:
    """Fill all memory that this process allocates with ``value``, 1 to 254, until the end of the block.

    Yields: False if the C library cannot do that; then nothing changes.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        yield False
        return
    with _lock:
        libc.mallopt(_M_PERTURB, value ^ 0xFF)
        try:
            yield _is_filled(libc, value)
        finally:
            libc.mallopt(_M_PERTURB, 0)


def _is_filled(libc: ctypes.CDLL, value: int) -> bool:
    """Return whether new memory has the value; it has not if another allocator was loaded first."""
    size = 100_000
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    block = libc.malloc(size)
    try:
        return ctypes.string_at(block, size) == bytes([value]) * size
    finally:
        libc.free(block)
