"""Recognise files that are no ONNX model, or not one that ONNX Runtime can run. Needs only Python."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

PROTOBUF_LIMIT: Final = 2**31 - 1
"""Most bytes of a protobuf message, and so of an ``.onnx`` file without external data."""
STANDARD_DOMAINS: Final = frozenset(
    {"", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training", "com.microsoft",
     "com.microsoft.nchwc", "com.microsoft.experimental", "com.ms.internal.nhwc", "org.pytorch.aten"}
)  # fmt: skip
"""Domains of the operators that ONNX Runtime has."""

_HEAD_BYTES: Final = 512
_PRINTED: Final = frozenset(b"\t\n\r") | frozenset(range(0x20, 0x7F))
_KINDS: Final = (
    # offset, bytes at the offset, kind of file, advice
    (0, b"version https://git-lfs.github.com", "a Git LFS pointer, not the model itself", "git lfs pull"),
    (0, b"PK\x03\x04", "a ZIP archive or a torch checkpoint", "unzip it, or make a model file with camrt export"),
    (0, b"\x80\x02", "a Python pickle, perhaps a torch checkpoint", "make a model file with camrt export"),
    (0, b"\x1f\x8b", "compressed with gzip", "gunzip it"),
    (4, b"TFL3", "a TensorFlow Lite model", "convert it to ONNX, then camrt attach"),
    (4, b"ORTM", "a model in ONNX Runtime's own format", "use the .onnx file that it was made from"),
    (0, b"\x89HDF", "an HDF5 file, perhaps a Keras model", "convert it to ONNX, then camrt attach"),
    (0, b"Salted__", "encrypted with OpenSSL", "decrypt it first: openssl enc -d"),
    (0, b"age-encryption.org", "encrypted with age", "decrypt it first: age -d"),
    (0, b"-----BEGIN PGP", "encrypted with GnuPG", "decrypt it first: gpg -d"),
    (0, b"%PDF", "a PDF document", "name the .onnx file"),
)


def describe_foreign_file(path: Path) -> str | None:
    """Return the kind of a file and what to do with it, such as ``it is compressed with gzip: gunzip it``.

    None: the first bytes match no known kind, or the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return None
    if not head:
        return "it is empty: copy or export it again"
    for offset, magic, kind, advice in _KINDS:
        if head[offset : offset + len(magic)] == magic:
            return f"it is {kind}: {advice}"
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page, as from a download that needs a login: download the file itself"
    if all(byte in _PRINTED for byte in head):
        return "it is a text file: name the .onnx file"
    return None


def describe_custom_operators(operators: Iterable[tuple[str, str]]) -> str:
    """Return what is wrong with a model that has these operators, (domain, operator) each, and what to do."""
    names = [f"{operator} (domain {domain!r})" for domain, operator in operators]
    return (
        f"has operators that ONNX Runtime does not have: {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}. "
        "Export it with standard operators: a quantized network in QDQ form (QuantizeLinear, DequantizeLinear), any "
        "other without the tool's own operators"
    )
