"""Arithmetic that Numba does not offer."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def high_product(_typing: Any, _a: Any, _b: Any) -> Any:
    """Return a * b // 65536 of two uint16, as uint16.

    It is one instruction for a whole vector. Written with uint32, the compiler makes vectors half as long.
    https://llvm.org/docs/LangRef.html#llvm-umul-fix-intrinsics
    """
    short, bits = ir.IntType(16), ir.IntType(32)

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        product = builder.module.declare_intrinsic(
            "llvm.umul.fix", [short], ir.FunctionType(short, [short, short, bits])
        )
        return builder.call(product, [*arguments, ir.Constant(bits, 16)])

    return types.uint16(types.uint16, types.uint16), generate
