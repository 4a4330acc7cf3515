"""Split a stream of pictures (MJPEG over HTTP) into its pictures, as browsers do.

FFmpeg's demuxer refuses streams that browsers show: without a boundary before the first picture, with parts of the type
``image/jpg``, or without ``Content-Length``.
"""

import re
import time
from typing import Final

from camrt.errors import SourceError
from camrt.runtime.sources.network.http_client import HttpAnswer

MOST_BYTES: Final = 64 << 20
"""Bytes of the largest picture. More than this in memory means that the stream is none of pictures."""
_LONGEST_LINE: Final = 4096
JPEG: Final = b"\xff\xd8\xff"
"""First bytes of a JPEG."""
_HEADER = re.compile(rb"([A-Za-z-]+)\s*:\s*(.*)")
_DELIMITER = re.compile(rb"\r?\n--")
_STANDALONE: Final = (0x01, *range(0xD0, 0xD8))  # markers of a JPEG without a segment
_END, _SCAN, _NEXT = 0xD9, 0xDA, 0xD8


class PictureStream:
    """Pictures that follow each other in one answer.

    Lines before a picture are its headers. ``Content-Length`` is used where it leads to the end of a JPEG; otherwise
    the JPEG is read marker by marker. Pictures of other formats end at their length or at the next boundary.
    """

    pause_s = 0.0
    fps = 0.0

    def __init__(self, answer: HttpAnswer, head: bytes) -> None:
        """Take the body of an answer.

        Args:
            answer: closed by `close`.
            head: the bytes of the body that were read already.
        """
        self._answer = answer
        self._buffer = bytearray(head)
        self._until_s = 0.0
        self._ended = False

    def next(self, until_s: float) -> bytes | None:
        """Wait for the next picture, which may be damaged; None at the end.

        Args:
            until_s: time of `time.monotonic` at which to give up.

        Raises:
            TimeoutError: it has not come in time.
            SourceError: the stream is none of pictures. The message is half a sentence.
        """
        self._until_s = until_s
        length: int | None = None
        in_headers = False
        while not self._starts_picture():
            line = self._line()
            if line is None:
                return None
            if header := _HEADER.fullmatch(line.strip()):
                in_headers = True
                if header[1].lower() == b"content-length" and header[2].isdigit():
                    length = int(header[2])
            elif in_headers and not line.strip():
                break
        return self._jpeg(length) if self._starts_picture() else self._other(length)

    def is_single(self, first: bytes, until_s: float) -> bool:
        """Wait for the JPEG behind the first one; True: none follows. `next` returns the first one again."""
        self._until_s = until_s
        try:
            while self._buffer.find(JPEG) < 0:
                if not self._has(len(self._buffer) + 1):
                    return True
        except TimeoutError:
            return True
        self._buffer[:0] = first
        return False

    def interrupt(self) -> None:
        """End the wait of another thread."""
        self._answer.interrupt()

    def close(self) -> None:
        """End the connection."""
        self._answer.close()

    def _starts_picture(self) -> bool:
        return self._has(len(JPEG)) and self._buffer.startswith(JPEG)

    def _has(self, count: int) -> bool:
        """Read until there are so many bytes; False: the stream ended before."""
        while len(self._buffer) < count and not self._ended:
            if count > MOST_BYTES:
                raise SourceError(f"a picture has more than {MOST_BYTES >> 20} MB")
            remaining_s = self._until_s - time.monotonic()
            if remaining_s <= 0:
                raise TimeoutError
            try:
                data = self._answer.read(remaining_s)
            except TimeoutError:
                raise
            except OSError:  # the server has cut the connection
                data = b""
            self._buffer += data
            self._ended = not data
        return len(self._buffer) >= count

    def _take(self, count: int) -> bytes:
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def _line(self) -> bytes | None:
        """Take a line; None at the end. Bytes that are no lines are dropped up to the next JPEG."""
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0 and len(self._buffer) < _LONGEST_LINE:
            searched = len(self._buffer)
            if not self._has(searched + 1):
                return None
        start = self._buffer.find(JPEG, 0, end if end >= 0 else None)
        if start >= 0:  # behind a damaged picture
            return self._take(start)
        return self._take(end + 1 if 0 <= end < _LONGEST_LINE else _LONGEST_LINE - len(JPEG))

    def _jpeg(self, length: int | None) -> bytes:
        if length is not None and self._has(length) and self._buffer[:length].rstrip(b"\r\n\0").endswith(b"\xff\xd9"):
            return self._take(length)
        return self._take(self._end_of_jpeg())

    def _end_of_jpeg(self) -> int:
        """Return the position behind the JPEG at the start of the buffer, or behind the part of it that is a JPEG."""
        position = 2
        while self._has(position + 2):
            marker = self._buffer[position + 1]
            if self._buffer[position] != 0xFF or marker == _NEXT:  # damaged, or without an end
                return position
            if marker == _END:
                return position + 2
            if marker == 0xFF:  # a fill byte
                position += 1
            elif marker in _STANDALONE:
                position += 2
            elif not self._has(position + 4):
                break
            else:
                position += 2 + int.from_bytes(self._buffer[position + 2 : position + 4])
                if marker == _SCAN:
                    position = self._end_of_scan(position)
        # The last bytes of the stream.
        end = self._buffer.find(b"\xff\xd9", position)
        return len(self._buffer) if end < 0 else end + 2

    def _end_of_scan(self, position: int) -> int:
        """Return the position of the marker behind the coded data that begins at ``position``."""
        while True:
            found = self._buffer.find(b"\xff", position)
            position = len(self._buffer) if found < 0 else found
            if not self._has(position + 2):
                return position
            if self._buffer[position] == 0xFF:
                follower = self._buffer[position + 1]
                if follower != 0 and follower not in _STANDALONE:
                    return position
                position += 2

    def _other(self, length: int | None) -> bytes | None:
        if length is not None:
            return self._take(length) if self._has(length) else None
        searched = 0
        while (end := _DELIMITER.search(self._buffer, searched)) is None:
            searched = max(0, len(self._buffer) - 4)
            if not self._has(len(self._buffer) + 1):
                return None
        return self._take(end.start())
