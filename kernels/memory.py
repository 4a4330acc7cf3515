"""Two things Numba cannot say: the bytes at an address, and eight bytes stored at once."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def bytes_at(_typing: Any, address: Any) -> Any:
    """Return the uint8 pointer to an address, for ``numba.carray``.

    A kernel takes addresses where frames come in every layout: one compiled version then serves them all, and the
    compiler knows that the bytes of a row follow each other.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.uint8)(types.intp), generate


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def store_four(_typing: Any, row: Any, index: Any, value: Any) -> Any:
    """Store a uint64 over four uint16 of ``row``, from ``index`` on: one instruction in place of three or four."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.bitcast(builder.gep(array.data, [arguments[1]]), ir.IntType(64).as_pointer())
        builder.store(arguments[2], place).align = 2
        return context.get_dummy_value()

    return types.void(row, types.intp, types.uint64), generate
