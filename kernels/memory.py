"""Memory access that Numba does not offer: bytes at an address, a pixel in one store, aligned buffers."""

from typing import Any, Final

import numpy as np
from numba import types
from numba.extending import intrinsic

from camrt.kernels.jit import kernel


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def bytes_at(_typing: Any, address: Any) -> Any:
    """Return the uint8 pointer to an address, for ``numba.carray``.

    Kernels take addresses because frames have many layouts. One compiled version serves all of them, and the compiler
    can assume that the bytes of a row are contiguous.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.uint8)(types.intp), generate


@kernel
def address(array):  # type: ignore[no-untyped-def]
    """Return the address of the first element. Faster than ``array.ctypes.data``: 0.4 us instead of 2 us."""
    return array.ctypes.data


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def store_pixel(_typing: Any, row: Any, index: Any, pixel: Any) -> Any:
    """Store the three lower uint16 of a uint64, a pixel, at ``row[index]``; overwrites `SPILL` elements after them."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        builder.store(arguments[2], builder.bitcast(place, arguments[2].type.as_pointer())).align = 2
        return context.get_dummy_value()

    return types.void(row, types.intp, types.uint64), generate


SPILL: Final = 1
"""Elements after its pixel that `store_pixel` overwrites."""


@kernel
def aligned_rows(size):  # type: ignore[no-untyped-def]
    """Return six buffers of ``size`` uint16 that start at cache lines and are not a multiple of 4 KiB apart.

    Otherwise loops over several buffers take a third longer: vectors straddle cache lines, or a load waits for a store
    to an address with the same lower twelve bits.
    """
    pitch = (size + 2047) // 2048 * 2048 + 320
    memory = np.empty(6 * pitch + 32, np.uint16)
    at = (-memory.ctypes.data & 63) >> 1
    return (
        memory[at : at + size],
        memory[at + pitch : at + pitch + size],
        memory[at + 2 * pitch : at + 2 * pitch + size],
        memory[at + 3 * pitch : at + 3 * pitch + size],
        memory[at + 4 * pitch : at + 4 * pitch + size],
        memory[at + 5 * pitch : at + 5 * pitch + size],
    )
