"""Vectors for kernels, where the compiler makes none or keeps sums in memory.

There are vectors of 64 uint16, for 64 columns of bytes, and of eight int32 or float32, for the same pixel of two rows:
three channels of each, and two lanes without meaning. Processors with shorter vectors use several for one.
"""

from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

COLUMNS: Final = 64
"""Columns in a vector of uint16: a cache line of bytes."""
_PIXELS: Final = 8
_BYTE, _SHORT, _INT32 = ir.IntType(8), ir.IntType(16), ir.IntType(32)


class _Lanes(types.Type):
    """A vector of ``count`` numbers."""

    def __init__(self, name: str, element: ir.Type, count: int) -> None:
        super().__init__(name=name)
        self.vector = ir.VectorType(element, count)


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):  # type: ignore[misc, unused-ignore]
    def __init__(self, manager: Any, kind: _Lanes) -> None:
        super().__init__(manager, kind, kind.vector)


_SHORTS = _Lanes("shorts", _SHORT, COLUMNS)
_INTEGERS = _Lanes("integers", _INT32, _PIXELS)
_FLOATS = _Lanes("floats", ir.FloatType(), _PIXELS)
_LANES_OF = {types.uint16: _SHORTS, types.int32: _INTEGERS, types.float32: _FLOATS}


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def splat(_typing: Any, number: Any) -> Any:
    """Return a vector whose lanes all are ``number``, uint16, int32 or float32."""
    kind = _LANES_OF[number]

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return _splat(builder, kind, arguments[0])

    return kind(number), generate


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def load_bytes(_typing: Any, address: Any) -> Any:
    """Return the `COLUMNS` bytes at an address, as uint16."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        place = builder.inttoptr(arguments[0], ir.VectorType(_BYTE, COLUMNS).as_pointer())
        return builder.zext(builder.load(place, align=1), _SHORTS.vector)

    return _SHORTS(types.intp), generate


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def load_shorts(_typing: Any, row: Any, index: Any) -> Any:
    """Return ``row[index : index + COLUMNS]``, uint16."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _place(context, builder, signature, arguments, ir.VectorType(_SHORT, COLUMNS))
        return builder.load(place, align=2)

    return _SHORTS(row, types.intp), generate


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def store_shorts(_typing: Any, row: Any, index: Any, _lanes: Any) -> Any:
    """Store uint16 lanes in ``row[index : index + COLUMNS]``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _place(context, builder, signature, arguments, ir.VectorType(_SHORT, COLUMNS))
        builder.store(arguments[2], place, align=2)
        return context.get_dummy_value()

    return types.void(row, types.intp, _SHORTS), generate


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def load_pixels(_typing: Any, row: Any, index: Any) -> Any:
    """Return ``row[index : index + 8]``, uint16, as int32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _place(context, builder, signature, arguments, ir.VectorType(_SHORT, _PIXELS))
        return builder.zext(builder.load(place, align=2), _INTEGERS.vector)

    return _INTEGERS(row, types.intp), generate


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def store_pixels(_typing: Any, out: Any, index: Any, _lanes: Any) -> Any:
    """Store float32 lanes in ``out[index : index + 8]``, uint8; their fractions are cut off."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        octets = ir.VectorType(_BYTE, _PIXELS)
        place = _place(context, builder, signature, arguments, octets)
        builder.store(builder.trunc(builder.fptosi(arguments[2], _INTEGERS.vector), octets), place, align=1)
        return context.get_dummy_value()

    return types.void(out, types.intp, _FLOATS), generate


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def add(_typing: Any, left: Any, _right: Any) -> Any:
    """Return the sum of two vectors of the same type."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.fadd(*arguments) if left is _FLOATS else builder.add(*arguments)

    return left(left, left), generate


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def subtract(_typing: Any, left: Any, _right: Any) -> Any:
    """Return the difference of two vectors of uint16."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.sub(*arguments)

    return left(left, left), generate


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def multiply(_typing: Any, left: Any, _right: Any) -> Any:
    """Return the lower 16 bits of the product of two vectors of uint16."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.mul(*arguments)

    return left(left, left), generate


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def upper_half(_typing: Any, left: Any, _right: Any) -> Any:
    """Return the upper 16 bits of the product of two uint16, or of two vectors of them, in one instruction.

    LLVM does not find the instruction for a product of 32 bits and a shift if a factor is the same in a whole loop.
    """
    kind = _SHORTS if left is _SHORTS else types.uint16

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        form, name = (_SHORTS.vector, f"v{COLUMNS}i16") if kind is _SHORTS else (_SHORT, "i16")
        product = ir.FunctionType(form, [form, form, _INT32])
        function = cgutils.get_or_insert_function(builder.module, product, f"llvm.umul.fix.{name}")
        return builder.call(function, [*arguments, _INT32(16)])

    return kind(kind, kind), generate


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def bits_and(_typing: Any, left: Any, _right: Any) -> Any:
    """Return the bits that are set in both of two vectors of integers."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.and_(*arguments)

    return left(left, left), generate


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def scale(_typing: Any, _lanes: Any, _factor: Any) -> Any:
    """Return int32 lanes times a float32, as float32."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        numbers = builder.sitofp(arguments[0], _FLOATS.vector)
        return builder.fmul(numbers, _splat(builder, _FLOATS, arguments[1]))

    return _FLOATS(_INTEGERS, types.float32), generate


def _place(context: Any, builder: Any, signature: Any, arguments: Any, vector: ir.Type) -> Any:
    """Return the pointer to the element ``arguments[1]`` of the array ``arguments[0]``."""
    data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
    return builder.bitcast(builder.gep(data, [arguments[1]]), vector.as_pointer())


def _splat(builder: Any, kind: _Lanes, number: Any) -> Any:
    undefined, count = kind.vector(ir.Undefined), kind.vector.count
    first = builder.insert_element(undefined, number, _INT32(0))
    return builder.shuffle_vector(first, undefined, ir.VectorType(_INT32, count)([0] * count))
