"""Read the header of an image: its format, and the reason why OpenCV would decode it wrongly. Needs only Python.

OpenCV decodes plain 8-bit files as Pillow does, and faster. Of others it drops bits, pages, or the orientation, or it
blends with black, and it reports nothing.
"""

import re
import struct
from collections.abc import Iterator
from typing import Final

_START_OF_FRAME: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_NO_LENGTH: Final = frozenset((0x01, *range(0xD0, 0xD9)))
_XMP_ORIENTATION: Final = re.compile(rb"tiff:Orientation(?:=\"|>)([0-9])")
_ORIENTATION: Final = 274  # of EXIF, which is a small TIFF
SEVERAL: Final = "it holds several pictures (MPO)"
"""Reason that concerns only the pictures behind the first."""
_PLAIN_TIFF_COMPRESSIONS: Final = (1, 5, 8, 32773, 32946)  # none, LZW, Deflate, PackBits, old Deflate


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield type and content of the chunks of a PNG, as far as they are complete; the content of IDAT is empty."""
    at = 8
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind, b"" if kind in (b"IDAT", b"fdAT") else data[at + 8 : at + 8 + length]
        at += 12 + length


def jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marker and content of the segments of a JPEG before its scan."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF or marker in _NO_LENGTH:
            at += 1 if marker == 0xFF else 2
            continue
        if marker == 0xDA:
            return
        length = struct.unpack_from(">H", data, at + 2)[0]
        yield marker, data[at + 4 : at + 2 + length]
        at += 2 + length


def tiff_fields(data: bytes) -> tuple[dict[int, tuple[int, ...]], bool]:
    """Return the whole numbers in the first directory of a TIFF by tag, and whether it has another directory.

    Values that are no whole numbers, and BigTIFF, are left out; of a damaged file there are fewer.
    """
    order = {b"II": "<", b"MM": ">"}.get(data[:2], "<")
    fields: dict[int, tuple[int, ...]] = {}
    try:
        if struct.unpack_from(order + "H", data, 2)[0] != 42:
            return fields, False
        at = struct.unpack_from(order + "I", data, 4)[0]
        count = struct.unpack_from(order + "H", data, at)[0]
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            tag, kind, length = struct.unpack_from(order + "HHI", data, entry)
            size = {1: 1, 3: 2, 4: 4}.get(kind)
            if size is not None and length <= 4096:
                place = entry + 8 if size * length <= 4 else struct.unpack_from(order + "I", data, entry + 8)[0]
                fields[tag] = struct.unpack_from(f"{order}{length}{'BHI'[size // 2]}", data, place)
        more = struct.unpack_from(order + "I", data, at + 2 + 12 * count)[0] != 0
    except struct.error:
        return fields, False
    return fields, more


def stated_size(data: bytes, kind: str) -> tuple[int, int] | None:
    """Return (width, height) in pixels that the header of an image states; None: it states none.

    Args:
        data: the whole file.
        kind: its format: JPEG, PNG, BMP, WebP, GIF, TIFF, AVIF or HEIF. Of AVIF and HEIF the largest part counts.
    """
    read = {"JPEG": _jpeg_size, "PNG": _png_size, "BMP": _bmp_size, "WebP": _webp_size, "GIF": _gif_size}
    read |= {"TIFF": _tiff_size, "AVIF": _heif_size, "HEIF": _heif_size}
    try:
        return read[kind](data) if kind in read else None
    except struct.error:  # the file is cut off
        return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    for marker, content in jpeg_segments(data):
        if marker in _START_OF_FRAME:
            height, width = struct.unpack_from(">HH", content, 1)
            return width, height
    return None


def _png_size(data: bytes) -> tuple[int, int]:
    return struct.unpack_from(">II", data, 16)


def _bmp_size(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<ii", data, 18)
    return abs(width), abs(height)


def _gif_size(data: bytes) -> tuple[int, int]:
    return struct.unpack_from("<HH", data, 6)


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _tiff_size(data: bytes) -> tuple[int, int] | None:
    fields, _ = tiff_fields(data)
    return (fields[256][0], fields[257][0]) if fields.get(256) and fields.get(257) else None


def _heif_size(data: bytes) -> tuple[int, int] | None:
    """Read the properties "ispe", which give the size of each part."""
    sizes = [struct.unpack_from(">II", data, found.end() + 4) for found in re.finditer(b"ispe", data[:1_000_000])]
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


def opencv_problem(data: bytes, kind: str) -> str:
    """Return the reason why OpenCV must not decode an image; empty if it decodes it as Pillow does.

    Args:
        data: the whole file.
        kind: its format, one of `camrt.file_kind.IMAGES`.
    """
    check = {"JPEG": _jpeg, "PNG": _png, "BMP": _bmp, "WebP": _webp, "TIFF": _tiff, "PNM": _pnm}.get(kind)
    return f"it is a {kind} image" if check is None else check(data)


def _jpeg(data: bytes) -> str:
    several, by_exif, by_xmp = False, False, False
    for marker, content in jpeg_segments(data):
        if marker in _START_OF_FRAME and len(content) >= 6:
            if content[0] != 8:
                return f"it has {content[0]} bits"
            if content[5] not in (1, 3):
                return f"it has {content[5]} colour components{' (CMYK)' if content[5] == 4 else ''}"
        elif marker == 0xE2 and content.startswith(b"MPF\0"):
            several = True
        elif marker == 0xE1 and content.startswith(b"Exif\0\0"):
            by_exif = by_exif or _ORIENTATION in tiff_fields(content[6:])[0]  # OpenCV reads it
        elif marker == 0xE1:
            by_xmp = by_xmp or _turns_by_xmp(content)
    if by_xmp and not by_exif:
        return "its XMP holds an orientation"
    return SEVERAL if several else ""


def _png(data: bytes) -> str:
    for kind, content in png_chunks(data):
        if kind == b"IHDR" and content[8:9] == b"\x10":
            return "it has 16 bits"
        if kind == b"acTL":
            return "it is animated"
        if kind == b"eXIf" and _turns(content):
            return "it holds an orientation"
        if kind in (b"tEXt", b"zTXt", b"iTXt") and (_turns_by_xmp(content) or content.startswith(b"Raw profile type")):
            return "it may hold an orientation"
    return ""


def _turns(exif: bytes) -> bool:
    """Tell whether an EXIF block states an orientation that changes the image."""
    return tiff_fields(exif.removeprefix(b"Exif\0\0"))[0].get(_ORIENTATION, (1,))[0] != 1


def _turns_by_xmp(content: bytes) -> bool:
    found = _XMP_ORIENTATION.search(content)
    return found is not None and found[1] != b"1"


def _bmp(data: bytes) -> str:
    if len(data) < 54:
        return ""
    start, header, _, height, _, bits, compression = struct.unpack_from("<IIiiHHI", data, 10)
    colours = struct.unpack_from("<I", data, 46)[0] or (256 if bits == 8 else 0)
    plain = header >= 40 and bits in (8, 24) and compression == 0 and height > 0
    return "" if plain and start >= 14 + header + 4 * colours else f"it is a BMP of {bits} bits of an unusual kind"


def _webp(data: bytes) -> str:
    at = 12
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, at)
        content = data[at + 8 : at + 8 + size] if kind in (b"VP8X", b"EXIF", b"XMP ") else data[at + 8 : at + 13]
        if kind == b"VP8X" and content and content[0] & 2:
            return "it is animated"
        if (kind == b"VP8X" and content and content[0] & 16) or (kind == b"VP8L" and content[4:] and content[4] & 16):
            return "it has an alpha channel"
        if (kind == b"EXIF" and _turns(content)) or (kind == b"XMP " and _turns_by_xmp(content)):
            return "it holds an orientation"
        at += 8 + size + size % 2
    return ""


def _tiff(data: bytes) -> str:
    fields, more = tiff_fields(data)
    if 258 not in fields and 256 not in fields:
        return "its directory is of an unusual kind"
    if more:
        return "it has several pages"
    bits, samples = fields.get(258, (1,)), fields.get(277, (1,))[0]
    plain = (
        set(bits) == {8}
        and (samples, fields.get(262, (0,))[0]) in ((1, 1), (3, 2))
        and fields.get(259, (1,))[0] in _PLAIN_TIFF_COMPRESSIONS
        and not {330, 338} & set(fields)  # sub-directories, extra samples
        and fields.get(274, (1,))[0] == 1  # orientation
        and fields.get(284, (1,))[0] == 1  # planes
        and fields.get(339, (1,))[0] == 1  # whole numbers without a sign
        and 324 not in fields  # tiles
    )
    return "" if plain else f"it is a TIFF of {samples} x {bits[0]} bits that is not plain grey or RGB"


def _pnm(data: bytes) -> str:
    words = [word for line in data[:512].split(b"\n") for word in line.partition(b"#")[0].split()]
    plain = len(words) > 3 and words[0] in (b"P5", b"P6") and words[3] == b"255"
    return "" if plain else "it is not a PGM or PPM of 8 bits"
