"""Read the header of an MP4 or QuickTime file. Needs only Python."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

_CONTAINERS: Final = frozenset((b"moov", b"trak", b"edts", b"mdia"))
_LARGEST_LIST: Final = 1_000_000  # bytes
_EMPTY: Final = -1  # media time of an edit that shows nothing


class Mp4Header(NamedTuple):
    """Facts that OpenCV does not report."""

    shown_s: float | None
    """Duration that the edit list of the first video track shows, in seconds; None: there is no edit list.

    A trimmed video keeps the frames before its start, from the last key frame on, and its header counts them; its edit
    list hides them.
    """
    has_sound: bool


def mp4_header(path: Path) -> Mp4Header | None:
    """Read the header of an MP4 or QuickTime file; None: it is of another format, or damaged."""
    timescale, shown, shown_of_video = 0, 0, 0
    media_types: list[bytes] = []
    try:
        with path.open("rb") as file:
            for kind, content in _boxes(file, 0, path.stat().st_size):
                if kind == b"mvhd":
                    timescale = struct.unpack_from(">I", content, 20 if content[0] else 12)[0]
                elif kind == b"trak":
                    shown = 0
                elif kind == b"elst":
                    shown = _shown(content)
                elif kind == b"hdlr":
                    if content[8:12] == b"vide" and b"vide" not in media_types:
                        shown_of_video = shown
                    media_types.append(content[8:12])
    except (OSError, struct.error, IndexError):
        return None
    if not timescale:
        return None
    return Mp4Header(shown_of_video / timescale if shown_of_video else None, b"soun" in media_types)


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield type and content of the boxes that matter, in the order of the file; a container has no content."""
    while start + 8 <= end:
        file.seek(start)
        size, kind = struct.unpack(">I4s", file.read(8))
        head = 8
        if size == 1:
            size, head = struct.unpack(">Q", file.read(8))[0], 16
        stop = end if size == 0 else min(start + size, end)
        if size and size < head:
            return
        if kind in _CONTAINERS:
            yield kind, b""
            yield from _boxes(file, start + head, stop)
        elif kind in (b"mvhd", b"elst", b"hdlr") and stop - start < _LARGEST_LIST:
            yield kind, file.read(stop - start - head)
        start = stop


def _shown(edit_list: bytes) -> int:
    """Return the length of all edits that show something, in ticks of the movie."""
    version, count = edit_list[0], struct.unpack_from(">I", edit_list, 4)[0]
    form = ">Qq4x" if version else ">Ii4x"
    edits = (struct.unpack_from(form, edit_list, 8 + index * struct.calcsize(form)) for index in range(count))
    return sum(length for length, media_time in edits if media_time != _EMPTY)
