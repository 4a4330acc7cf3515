"""Vectors of four lanes for the pixels of a row: three channels, and a lane without meaning.

Compilers do not make vectors of loops over pixels of three channels. These functions are for kernels only.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

_INT32 = ir.IntType(32)


class _Lanes(types.Type):
    """A vector of four int32 or float32."""

    def __init__(self, name: str, element: ir.Type) -> None:
        super().__init__(name=name)
        self.vector = ir.VectorType(element, 4)


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):  # type: ignore[misc, unused-ignore]
    def __init__(self, manager: Any, kind: _Lanes) -> None:
        super().__init__(manager, kind, kind.vector)


_INTEGERS = _Lanes("four_int32", _INT32)
_FLOATS = _Lanes("four_float32", ir.FloatType())


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def splat(_typing: Any, number: Any) -> Any:
    """Return a vector whose lanes all are ``number``, int32 or float32."""
    kind = _FLOATS if number == types.float32 else _INTEGERS

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return _splat(builder, kind, arguments[0])

    return kind(types.float32 if kind is _FLOATS else types.int32), generate


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def load_pixel(_typing: Any, row: Any, index: Any) -> Any:
    """Return ``row[index : index + 4]``, uint16, as int32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        shorts = ir.VectorType(ir.IntType(16), 4)
        place = builder.bitcast(builder.gep(data, [arguments[1]]), shorts.as_pointer())
        return builder.zext(builder.load(place, align=2), _INTEGERS.vector)

    return _INTEGERS(row, types.intp), generate


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def store_pixel_bytes(_typing: Any, out: Any, index: Any, lanes: Any) -> Any:
    """Store float32 lanes in ``out[index : index + 4]``, uint8; their fractions are cut off."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        octets = ir.VectorType(ir.IntType(8), 4)
        place = builder.bitcast(builder.gep(data, [arguments[1]]), octets.as_pointer())
        builder.store(builder.trunc(builder.fptosi(arguments[2], _INTEGERS.vector), octets), place, align=1)
        return context.get_dummy_value()

    return types.void(out, types.intp, _FLOATS), generate


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def add(_typing: Any, left: Any, right: Any) -> Any:
    """Return the sum of two vectors of the same type."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.fadd(*arguments) if left is _FLOATS else builder.add(*arguments)

    return left(left, right), generate


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def bits_and(_typing: Any, _left: Any, _right: Any) -> Any:
    """Return the bits that are set in both of two int32 vectors."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.and_(*arguments)

    return _INTEGERS(_INTEGERS, _INTEGERS), generate


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def scale(_typing: Any, _lanes: Any, _factor: Any) -> Any:
    """Return an int32 vector times a float32, as float32."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        numbers = builder.sitofp(arguments[0], _FLOATS.vector)
        return builder.fmul(numbers, _splat(builder, _FLOATS, arguments[1]))

    return _FLOATS(_INTEGERS, types.float32), generate


def _splat(builder: Any, kind: _Lanes, number: Any) -> Any:
    undefined = kind.vector(ir.Undefined)
    first = builder.insert_element(undefined, number, _INT32(0))
    return builder.shuffle_vector(first, undefined, ir.VectorType(_INT32, 4)([0] * 4))
