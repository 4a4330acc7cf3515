"""Report Python, the processor and its cores."""

import os
import platform
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from camrt import __version__
from camrt.cores import usable_cores
from camrt.runtime.doctor.finding import OK, PROBLEM, WARNING, Finding

_X86 = {"x86_64", "AMD64", "i686", "i386"}
# Processor features that speed up ONNX Runtime and Numba: name in /proc/cpuinfo, common name.
_FEATURES: Final = {
    **{"avx2": "AVX2", "avx512f": "AVX-512", "avx512_vnni": "AVX-512 VNNI", "avx_vnni": "AVX VNNI"},
    **{"avx512_bf16": "AVX-512 BF16", "amx_int8": "AMX int8", "amx_bf16": "AMX bf16"},
    **{"asimd": "NEON", "asimddp": "dot product", "i8mm": "int8 matrices", "bf16": "bf16", "sve": "SVE"},
}


def findings() -> Iterator[Finding]:
    """Yield findings about camrt, Python, the processor and its cores."""
    yield Finding("camrt", OK, f"{__version__} in {Path(__file__).parents[2]}")
    bits = struct.calcsize("P") * 8
    text = f"{platform.python_version()} ({bits} bit) on {platform.platform()}, {sys.executable}"
    if bits == 32:
        yield Finding("python", PROBLEM, f"{text}; ONNX Runtime has no 32-bit wheels: install a 64-bit system")
    else:
        yield Finding("python", OK, text)
    yield _cores()
    yield from _features()


def _cores() -> Finding:
    cores, all_cores = usable_cores(), os.cpu_count() or 1
    if cores == all_cores:
        return Finding("cores", OK, f"{cores}, all usable")
    return Finding(
        "cores", OK, f"{cores} of {all_cores} usable (affinity or container quota); --threads defaults to {cores}"
    )


def _features() -> Iterator[Finding]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return
    fields = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    flags = fields.get("flags", fields.get("Features", "")).split()
    name = fields.get("model name") or fields.get("Model") or platform.machine()
    text = f"{name}: {', '.join(_FEATURES[flag] for flag in _FEATURES if flag in flags) or 'no known vector units'}"
    if platform.machine() in _X86 and "avx2" not in flags:
        yield Finding("processor", WARNING, f"{text}; without AVX2 the frame rate is low")
    else:
        yield Finding("processor", OK, text)
