"""Shared libraries that a provider of ONNX Runtime needs, and wheels that own a file."""

import contextlib
import ctypes
import importlib.metadata
import io
import struct
from pathlib import Path
from types import ModuleType
from typing import Any, Final

_MACHINES_WITH_64_BITS: Final = b"\x7fELF\x02\x01"
_LOAD, _DYNAMIC = 1, 2  # kinds of segments (p_type)
_NEEDED, _STRING_TABLE = 1, 5  # kinds of dynamic entries (d_tag)


def wheels_with(file: str) -> list[str]:
    """Return the installed distributions that own a file of ``site-packages``, each as ``name version``.

    Where there are two, the one that was installed later has overwritten the other's files.
    """
    found = set()
    for distribution in importlib.metadata.distributions():
        if any(str(path) == file for path in distribution.files or []):
            found.add(f"{distribution.name} {distribution.version}")
    return sorted(found)


def preload_cuda(runtime: ModuleType) -> None:
    """Load the CUDA and cuDNN wheels in ``site-packages``, where the loader of the system does not look.

    What is missing is not said here, though ONNX Runtime would print it: `missing` tells it.
    """
    if hasattr(runtime, "preload_dlls"):  # since 1.21
        with contextlib.redirect_stdout(io.StringIO()):
            runtime.preload_dlls()


def provider_library(runtime: ModuleType, provider: str) -> Path:
    """Return where the shared library of a provider would be; CUDA, TensorRT and OpenVINO have one on Linux."""
    return Path(str(runtime.__file__)).parent / "capi" / f"libonnxruntime_providers_{provider}.so"


def missing(library: Path) -> list[str]:
    """Return the libraries that a shared library needs and that cannot be loaded; empty where it is no ELF file."""
    lost = []
    for name in needed(library):
        try:
            ctypes.CDLL(name)
        except OSError:
            if not (library.parent / name).is_file():  # beside it is where it looks first
                lost.append(name)
    return lost


def needed(library: Path) -> list[str]:
    """Return the names that a 64-bit ELF file asks the loader for (its ``DT_NEEDED`` entries)."""
    try:
        with library.open("rb") as file:
            header = file.read(64)
            if header[:6] != _MACHINES_WITH_64_BITS:
                return []
            offset, size, count = (*struct.unpack_from("<Q", header, 32), *struct.unpack_from("<HH", header, 54))
            segments = []
            for number in range(count):
                file.seek(offset + number * size)
                kind, _, start, address, _, length = struct.unpack("<IIQQQQ", file.read(40))
                segments.append((kind, start, address, length))
            return _names(file, segments)
    except (OSError, struct.error):
        return []


def _names(file: Any, segments: list[tuple[int, int, int, int]]) -> list[str]:
    _, start, _, length = next(segment for segment in segments if segment[0] == _DYNAMIC)
    file.seek(start)
    entries = list(struct.iter_unpack("<qQ", file.read(length // 16 * 16)))
    table = next(value for tag, value in entries if tag == _STRING_TABLE)
    base = next(table - address + start for kind, start, address, length in segments
                if kind == _LOAD and address <= table < address + length)  # fmt: skip
    names = []
    for tag, value in entries:
        if tag == _NEEDED:
            file.seek(base + value)
            names.append(file.read(256).split(b"\0", 1)[0].decode())
    return names
