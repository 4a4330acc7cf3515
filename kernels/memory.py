"""Two things Numba cannot say: the bytes at an address, and several pixels stored at once."""

from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_PIXEL: Final = ir.VectorType(ir.IntType(16), 4)
"""Four uint16: blue, green, red, and one that is not used."""


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def bytes_at(_typing: Any, address: Any) -> Any:
    """Return the uint8 pointer to an address, for ``numba.carray``.

    A kernel takes addresses where frames come in every layout: one compiled version then serves them all, and the
    compiler knows that the bytes of a row follow each other.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.uint8)(types.intp), generate


def _store(context: Any, builder: Any, row_type: Any, place: Any, values: Any) -> None:
    """Store a vector over the elements of a row, wherever they are."""
    row, index = place
    array = context.make_array(row_type)(context, builder, row)
    builder.store(values, builder.bitcast(builder.gep(array.data, [index]), values.type.as_pointer())).align = 2


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def store_one(_typing: Any, row: Any, index: Any, pixel: Any) -> Any:
    """Store the three uint16 of a pixel, the lower ones of a uint64, at ``row[index]``; spoils `SPILL` behind them."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _store(context, builder, signature.args[0], arguments[:2], builder.bitcast(arguments[2], _PIXEL))
        return context.get_dummy_value()

    return types.void(row, types.intp, types.uint64), generate


def _store_line(count: int) -> Any:
    """Make the intrinsic that stores ``count`` pixels, on the straight line from ``first`` to ``last``."""
    lanes = 4 * count
    pixel_of = [min(lane // 3, count - 1) for lane in range(lanes)]
    last_shares = [65536 * pixel // count for pixel in pixel_of]
    first_shares = [min(65535, 65536 - share) for share in last_shares]

    @intrinsic  # type: ignore[untyped-decorator, unused-ignore]
    def store(_typing: Any, row: Any, index: Any, first: Any, last: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            double = ir.VectorType(ir.IntType(32), lanes)
            spread = ir.Constant(double, [lane % 3 for lane in range(lanes)])

            def share_of(value: Any, shares: list[int]) -> Any:
                pixel = builder.bitcast(value, _PIXEL)
                product = builder.mul(
                    builder.zext(builder.shuffle_vector(pixel, pixel, spread), double), ir.Constant(double, shares)
                )
                # The upper half of a product of 16 bits is one instruction.
                upper = builder.lshr(product, ir.Constant(double, [16] * lanes))
                return builder.trunc(upper, ir.VectorType(ir.IntType(16), lanes))

            line = builder.add(share_of(arguments[2], first_shares), share_of(arguments[3], last_shares))
            _store(context, builder, signature.args[0], arguments[:2], line)
            return context.get_dummy_value()

        return types.void(row, types.intp, types.uint64, types.uint64), generate

    return store


store_four = _store_line(4)
"""``store_four(row, index, first, last)``: four pixels, the first of them ``first``; ``last`` would be the fifth."""
store_eight = _store_line(8)
"""The same with eight pixels; ``last`` would be the ninth."""
SPILL: Final = 8
"""Elements behind its last pixel that a store may spoil."""
