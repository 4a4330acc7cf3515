"""Pictures: one, or those of a folder, one frame each."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from camrt.errors import SourceError
from camrt.images import Image
from camrt.runtime.frames import Frame


def read_image(path: Path) -> Image:
    """Read a picture of any kind as a classifier's training saw it.

    Turned upright by its EXIF orientation; grey and palette become colour; 16 bits become 8 (the upper ones); an
    alpha channel is dropped, not blended, as by Pillow's ``convert("RGB")`` (in a TIFF OpenCV blends it with black).

    Returns: uint8 (H, W, 3) BGR.

    Raises:
        SourceError: it is not there, empty, truncated, or no picture.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    if not data:
        raise SourceError(f"{path} is empty (0 bytes)")
    try:
        # From memory, for imread fills what is missing of a truncated JPEG with grey and says nothing.
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise SourceError(f"{path} cannot be decoded: {error.err}") from error
    if image is None:
        raise SourceError(f"{path} cannot be decoded ({len(data)} bytes): it is truncated, or of a kind OpenCV lacks")
    return np.asarray(image, np.uint8)


class ImageSource:
    """Pictures in the order given; those that cannot be read are passed over, with a line each in ``problems``."""

    live = False
    fps: float | None = None

    def __init__(self, paths: Sequence[Path], *, name: str, problems: Sequence[str] = ()) -> None:
        """Take at least one path; nothing is read yet.

        Args:
            paths: the pictures.
            name: what to call them together.
            problems: what was passed over already.
        """
        self.name = name
        self.frame_count: int | None = len(paths)
        self.problems = list(problems)
        self._paths = list(paths)
        self._next = 0
        self._read_any = False
        self._closed = False

    def read(self) -> Frame | None:
        """Return the next picture that can be read, or None at the end.

        Raises:
            SourceError: there was an end, but nothing that could be read.
        """
        while self._next < len(self._paths) and not self._closed:
            index, path = self._next, self._paths[self._next]
            self._next += 1
            try:
                image = read_image(path)
            except SourceError as error:
                if len(self._paths) == 1:
                    raise
                self.problems.append(str(error))
                continue
            self._read_any = True
            return Frame(image, index, 0.0, str(path))
        if not self._read_any and not self._closed:
            raise SourceError(f"none of the {len(self._paths)} pictures of {self.name} could be read")
        return None

    def close(self) -> None:
        """End the reading."""
        self._closed = True
