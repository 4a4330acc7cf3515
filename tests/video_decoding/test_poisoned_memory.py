"""New memory has a known value within the block, and only there."""

import numpy as np
import pytest

from camrt.video_decoding.poisoned_memory import poisoned_memory

SIZES = (1_000_000, 40_000_000)
"""Bytes of memory from the heap, and of memory that the system maps."""


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("value", [1, 0x3C, 254])
def test_new_memory_is_filled(size, value):
    with poisoned_memory(value) as poisoned:
        if not poisoned:
            pytest.skip("this C library cannot fill memory")
        block = np.empty(size, np.uint8)
    assert (block == value).all()


def test_memory_is_not_filled_after_the_block():
    with poisoned_memory(0x3C):
        pass
    assert not (np.empty(SIZES[1], np.uint8) == 0x3C).all()
