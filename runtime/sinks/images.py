"""A picture of each overlay."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Final

import cv2

from camrt.errors import SinkError
from camrt.files import atomic_write, refuse_existing, write_error
from camrt.images import Image, is_image
from camrt.runtime.frames import Frame, Rendered
from camrt.runtime.sinks.rotation import numbered

KEPT_SUFFIXES: Final = (".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".webp", ".tif", ".tiff")


def write_image(path: Path, image: Image) -> None:
    """Write a picture; it appears whole or not at all, and replaces what is there.

    Args:
        path: where to; its suffix, one of `KEPT_SUFFIXES`, chooses the format.
        image: uint8 (H, W, 3) BGR.

    Raises:
        DiskFull, SinkError: it cannot be encoded or written.
    """
    try:
        _, data = cv2.imencode(path.suffix.lower(), image)
    except cv2.error as error:
        raise SinkError(f"{path} cannot be encoded: {error.err}") from error
    with atomic_write(path) as part:
        part.write_bytes(data.tobytes())


class ImageSink:
    """Writes every overlay as a picture into one folder.

    A picture keeps its name and, where OpenCV can write that kind in colour, its suffix; else it becomes a PNG. Frames
    of a video or of a live source, whatever its name, are JPEGs with the frame's number. Of pictures with the same
    name, from several folders, the second becomes ``name-2``.
    """

    def __init__(self, folder: Path, *, overwrite: bool = False, live: bool = False, resume: bool = False) -> None:
        """Make the folder, where there is none.

        Args:
            folder: where to.
            overwrite: old pictures there may be replaced; the inputs themselves never are.
            live: the frames are those of one live source.
            resume: numbers go on behind those of an earlier run.

        Raises:
            SinkError: there cannot be such a folder.
        """
        self._folder = folder
        self._overwrite = overwrite
        self._live = live
        # What the source's frame 0 is numbered; None: not known before its name is.
        self._first = None if resume and not overwrite else 0
        self._names: set[Path] = set()  # taken; frames that are numbered need none, and are too many
        self._made = not folder.exists()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise SinkError(f"{folder} is a file; the pictures need a folder") from error
        except OSError as error:
            raise SinkError(f"folder {folder} cannot be made: {error.strerror}") from error

    def write(self, rendered: Rendered, /) -> None:
        """Write one picture; it appears whole or not at all. While there is no signal there is none to keep.

        Raises:
            UsageError: it exists and may not be replaced.
            DiskFull, SinkError: it is the input itself, or cannot be written.
        """
        if rendered.frame.lost:
            return
        target = self._target(rendered.frame)
        refuse_existing(target, overwrite=self._overwrite)
        source = Path(rendered.frame.name)
        if target.exists() and source.exists() and target.samefile(source):
            raise SinkError(f"{target} is the input itself and is not replaced; choose another folder")
        write_image(target, rendered.image)

    def close(self) -> None:
        """Remove the folder again if it was made for nothing."""
        if self._made:
            with suppress(OSError):  # it is not empty
                self._folder.rmdir()

    def _target(self, frame: Frame) -> Path:
        source = Path(frame.name)
        if self._live or not is_image(source):
            stem = re.sub(r"[^0-9A-Za-z_-]+", "_", source.stem)
            if self._first is None:
                self._first = _next_number(self._folder, stem)
            return self._folder / f"{stem}_{self._first + frame.index:06d}.jpg"
        suffix = source.suffix if source.suffix.lower() in KEPT_SUFFIXES else ".png"
        target, number = self._folder / f"{source.stem}{suffix}", 1
        while target in self._names:
            number += 1
            target = self._folder / f"{source.stem}-{number}{suffix}"
        self._names.add(target)
        return target


def _next_number(folder: Path, stem: str) -> int:
    """Return the number behind the highest of ``stem_000000.jpg`` and so on. Raises: SinkError."""
    name = re.compile(rf"{re.escape(stem)}_(\d{{6,}})\.jpg")
    try:
        return max((number + 1 for number, _ in numbered(folder, name)), default=0)
    except OSError as error:
        raise write_error(folder, error) from error
