"""Recognise images, videos and other files by their first bytes, and models that ONNX Runtime cannot run.

Needs only Python. The suffix of a name decides nothing, except for a series of JPEGs: one file can be an image or a
video.
"""

import codecs
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

PROTOBUF_LIMIT: Final = 2**31 - 1
"""Most bytes of a protobuf message, and so of an ``.onnx`` file without external data."""
STANDARD_DOMAINS: Final = frozenset(
    {"", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training", "com.microsoft",
     "com.microsoft.nchwc", "com.microsoft.experimental", "com.ms.internal.nhwc", "org.pytorch.aten"}
)  # fmt: skip
"""Domains of the operators that ONNX Runtime has."""

TEXT: Final = "a text file"
"""Name of the kind of a text that is nothing else."""
_HEAD_BYTES: Final = 4096
_MJPEG_SUFFIXES: Final = (".mjpg", ".mjpeg", ".mjp")

# Files that are neither an ONNX model nor an image nor a video: offset, bytes there, kind of file, advice.
_FOREIGN: Final = (
    (0, b"version https://git-lfs.github.com", "a Git LFS pointer, not the file itself", "git lfs pull"),
    (0, b"PK\x03\x04", "a ZIP archive or a torch checkpoint", ""),
    (0, b"\x80\x02", "a Python pickle, perhaps a torch checkpoint", ""),
    (0, b"\x1f\x8b", "compressed with gzip", "gunzip it"),
    (0, b"BZh", "compressed with bzip2", "bunzip2 it"),
    (0, b"\xfd7zXZ\0", "compressed with xz", "unxz it"),
    (0, b"7z\xbc\xaf", "a 7z archive", "unpack it"),
    (0, b"Rar!", "a RAR archive", "unpack it"),
    (257, b"ustar", "a tar archive", "unpack it: tar -xf"),
    (4, b"TFL3", "a TensorFlow Lite model", ""),
    (4, b"ORTM", "a model in ONNX Runtime's own format", ""),
    (0, b"\x89HDF", "an HDF5 file, perhaps a Keras model", ""),
    (0, b"Salted__", "encrypted with OpenSSL", "decrypt it first: openssl enc -d"),
    (0, b"age-encryption.org", "encrypted with age", "decrypt it first: age -d"),
    (0, b"-----BEGIN PGP", "encrypted with GnuPG", "decrypt it first: gpg -d"),
    (0, b"%PDF", "a PDF document", ""),
    (0, b"%!PS", "a PostScript document", ""),
    (0, b"\x93NUMPY", "a NumPy array", ""),
    (0, b"SQLite format 3", "a database", ""),
    (0, b"\x7fELF", "a program", ""),
)
_MODEL_ADVICE: Final = {
    "a Git LFS pointer, not the file itself": "git lfs pull",
    "a ZIP archive or a torch checkpoint": "unzip it, or make a model file with camrt export",
    "a Python pickle, perhaps a torch checkpoint": "make a model file with camrt export",
    "a TensorFlow Lite model": "convert it to ONNX, then camrt attach",
    "a model in ONNX Runtime's own format": "use the .onnx file that it was made from",
    "an HDF5 file, perhaps a Keras model": "convert it to ONNX, then camrt attach",
}

_RAW: Final = "camera raw"
_IMAGES: Final = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (8, b"WEBP", "WebP"),
    (0, b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    (0, b"IIU\0", _RAW),
    (0, b"IIRO", _RAW),
    (0, b"IIRS", _RAW),
    (0, b"MMOR", _RAW),
    (0, b"FUJIFILMCCD-RAW", _RAW),
    (0, b"FOVb", _RAW),
    (0, b"8BPS", "PSD"),
    (0, b"v/1\x01", "OpenEXR"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    (0, b"#?RGBE", "Radiance HDR"),
    (0, b"DDS ", "DDS"),
    (0, b"qoif", "QOI"),
    (0, b"icns", "ICNS"),
    (0, b"SIMPLE  =", "FITS"),
    (0, b"\x01\xda", "SGI"),
    (0, b"\x59\xa6\x6a\x95", "Sun raster"),
    (0, b"/* XPM */", "XPM"),
)
_VIDEOS: Final = (
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (8, b"AVI ", "AVI"),
    (0, b"\x1aE\xdf\xa3", "Matroska or WebM"),
    (0, b"\0\0\x01\xba", "MPEG"),
    (0, b"\0\0\x01\xb3", "MPEG"),
    (0, b"\0\0\x01\xb0", "MPEG-4"),
    (0, b"0&\xb2u\x8ef\xcf\x11", "ASF or WMV"),
    (0, b"FLV\x01", "FLV"),
    (0, b".RMF", "RealMedia"),
    (0, b"YUV4MPEG2", "Y4M"),
    (0, b"DKIF", "IVF"),
    (0, b"\x06\x0e+4", "MXF"),
    (0, b"\x1f\x07\0", "DV"),
    (4, b"\x11\xaf", "FLIC"),
    (4, b"\x12\xaf", "FLIC"),
)
_AUDIO: Final = ((0, b"ID3"), (8, b"WAVE"), (0, b"fLaC"), (0, b"\xff\xfb"), (0, b"\xff\xf1"), (0, b"MThd"))
_MOV_BOXES: Final = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_HEIF_BRANDS: Final = frozenset(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1", b"mif2")
)


@dataclass(frozen=True, slots=True)
class FileKind:
    """Kind of a file, by its content."""

    kind: Literal["image", "video", "other"]
    name: str
    """Format of an image or video, such as ``JPEG``; of any other file words for it, such as ``a text file``."""
    advice: str = ""
    """Way out for a file that is neither an image nor a video; may be empty."""

    @property
    def sentence(self) -> str:
        """A clause for a file of another kind than expected: ``it is an image (JPEG)``, ``it is a text file``."""
        if self.kind != "other":
            return f"it is {'an image' if self.kind == 'image' else 'a video'} ({self.name})"
        return "it is empty" if self.name.startswith("empty") else f"it is {self.name}"

    @property
    def may_be_checkpoint(self) -> bool:
        """The file may come from torch, which writes checkpoints as ZIP archives or pickles."""
        return "torch checkpoint" in self.name

    @property
    def animated(self) -> bool:
        """An image file whose frames have times; it counts as a video."""
        return self.kind == "video" and self.name in ("animated PNG", "animated WebP", "AVIF sequence")


UNKNOWN: Final = FileKind("other", "a file of an unknown kind")
"""The first bytes match no known kind."""


def kind_of(path: Path) -> FileKind:
    """Return the kind of a file by its first bytes. Raises: OSError: the file cannot be read."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    kind = kind_of_bytes(head)
    if kind.name == "JPEG" and path.suffix.lower() in _MJPEG_SUFFIXES:
        return FileKind("video", "series of JPEGs")
    return kind


def kind_of_bytes(head: bytes) -> FileKind:
    """Return the kind of a file from its first bytes, 4096 where it has as many."""
    if not head:
        return FileKind("other", "empty (0 bytes)", "copy or record it again")
    return _media(head.ljust(32, b"\0")) or _foreign(head) or UNKNOWN


def _media(head: bytes) -> FileKind | None:
    for offset, magic, name in _IMAGES:
        if head.startswith(magic, offset):
            return _refined(head, name)
    for offset, magic, name in _VIDEOS:
        if head.startswith(magic, offset) and (name != "AVI" or head.startswith((b"RIFF", b"ON2 "))):
            return FileKind("video", name)
    if head[:4] == b"OggS":
        video = any(codec in head for codec in (b"theora", b"BBCD\0", b"OVP80", b"video"))
        return FileKind("video", "Ogg") if video else FileKind("other", "an audio file")
    if head[4:8] in _MOV_BOXES:
        return _iso_media(head)
    if head[:3] == b"\0\0\x01" or head[:4] == b"\0\0\0\x01":
        unit = head[3 if head[2] else 4]
        if unit & 0x1F in (7, 9) or unit >> 1 in (32, 33, 35):  # parameter sets or delimiters of H.264, of H.265
            return FileKind("video", "H.264 or H.265")
    for size in (188, 192, 204):
        start = size - 188 if size == 192 else 0
        marks = head[start::size][:8]
        if len(marks) > 3 and set(marks) == {0x47}:
            return FileKind("video", "MPEG-TS")
    if re.match(rb"P[1-7fF][ \t\r\n#]", head):
        return FileKind("image", "PNM")
    if head[:2] == b"BM" and head[15:18] == b"\0\0\0" and head[14] in (12, 16, 40, 52, 56, 64, 108, 124):
        return FileKind("image", "BMP")
    if head[:4] in (b"\0\0\x01\0", b"\0\0\x02\0") and head[4] > 0 and head[5] == 0:
        return FileKind("image", "ICO")
    if re.match(rb"\s*#define[ \t]+\w+[ \t]+\d+\s", head) and b"_bits" in head:
        return FileKind("image", "XBM")
    return None


def _refined(head: bytes, name: str) -> FileKind:
    """Return the kind of an image format, some of whose files are animated or raw."""
    if name == "TIFF" and _is_raw(head):
        return FileKind("image", _RAW)
    if name == "WebP" and head[12:16] == b"VP8X" and len(head) > 20 and head[20] & 2:
        return FileKind("video", "animated WebP")
    if name == "PNG" and b"acTL" in head[: head.find(b"IDAT")]:
        return FileKind("video", "animated PNG")
    return FileKind("image", name)


def _is_raw(head: bytes) -> bool:
    """Tell whether a TIFF is a raw file: DNG, CR2, or a first directory with the tags of a camera's thumbnail."""
    order: Literal["little", "big"] = "little" if head[:2] == b"II" else "big"
    if head[8:10] == b"CR":
        return True
    at = int.from_bytes(head[4:8], order)
    count = int.from_bytes(head[at : at + 2], order)
    tags = {}
    for entry in range(at + 2, min(at + 2 + 12 * count, len(head) - 11), 12):
        short = int.from_bytes(head[entry + 2 : entry + 4], order) == 3
        tags[int.from_bytes(head[entry : entry + 2], order)] = int.from_bytes(
            head[entry + 8 : entry + (10 if short else 12)], order
        )
    sensor = tags.get(262) in (32803, 34892)  # colour filter array, linear raw
    thumbnail = tags.get(254) == 1 and {271, 330} <= set(tags)  # reduced image, maker, sub-directories: NEF, ARW, PEF
    return 50706 in tags or sensor or thumbnail


def _iso_media(head: bytes) -> FileKind:
    """Return the kind of a file of ISO boxes: MP4, QuickTime, HEIF, AVIF, or Canon's raw files."""
    if head[4:8] != b"ftyp":
        return FileKind("video", "MP4 or QuickTime")
    size = int.from_bytes(head[:4], "big")
    major = head[8:12]
    brands = {head[at : at + 4] for at in range(16, min(size, len(head)), 4)} | {major}
    if major == b"crx ":
        return FileKind("image", _RAW)
    if major == b"avis" or (major in _HEIF_BRANDS and b"avis" in brands):
        return FileKind("video", "AVIF sequence")
    if b"avif" in brands and major not in (b"isom", b"mp42"):
        return FileKind("image", "AVIF")
    if major in _HEIF_BRANDS:
        return FileKind("image", "HEIF")
    if major in (b"M4A ", b"M4B "):
        return FileKind("other", "an audio file")
    return FileKind("video", "MP4 or QuickTime")


def _foreign(head: bytes) -> FileKind | None:
    for offset, magic, name, advice in _FOREIGN:
        if head.startswith(magic, offset):
            return FileKind("other", name, advice)
    if any(head.startswith(magic, offset) for offset, magic in _AUDIO):
        return FileKind("other", "an audio file")
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(b"<svg") or (start.startswith(b"<?xml") and b"<svg" in head):
        return FileKind("other", "an SVG drawing", "convert it to PNG")
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        web = "a web page, as from a download that needs a login"
        return FileKind("other", web, "download the file itself")
    return FileKind("other", TEXT) if _is_text(head) else None


def _is_text(head: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character in "\t\n\r\f\x1b\ufeff" for character in text)


def describe_foreign_file(path: Path) -> str | None:
    """Return the kind of a file that is no ONNX model, and the advice: ``it is compressed with gzip: gunzip it``.

    None: the first bytes match no known kind, or the file cannot be read.
    """
    try:
        kind = kind_of(path)
    except OSError:
        return None
    if kind is UNKNOWN:
        return None
    if kind.name.startswith("empty"):
        return f"{kind.sentence}: copy or export it again"
    return f"{kind.sentence}: {_MODEL_ADVICE.get(kind.name) or kind.advice or 'name the .onnx file'}"


def describe_custom_operators(operators: Iterable[tuple[str, str]]) -> str:
    """Return what is wrong with a model that has these operators, (domain, operator) each, and what to do."""
    names = [f"{operator} (domain {domain!r})" for domain, operator in operators]
    return (
        f"has operators that ONNX Runtime does not have: {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}. "
        "Export it with standard operators: a quantized network in QDQ form (QuantizeLinear, DequantizeLinear), any "
        "other without the tool's own operators"
    )
