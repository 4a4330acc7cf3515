"""A picture of each overlay."""

import re
from pathlib import Path
from typing import Final

import cv2

from camrt.errors import SinkError
from camrt.runtime.frames import Frame, Image, Rendered
from camrt.runtime.sinks.growing import failure
from camrt.runtime.sinks.output import hidden_beside, refuse_existing
from camrt.runtime.sources.paths import PICTURE_SUFFIXES

KEPT_SUFFIXES: Final = (".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".webp", ".tif", ".tiff")


def write_picture(path: Path, image: Image) -> None:
    """Write a picture; it appears whole or not at all, and replaces what is there.

    Args:
        path: where to; its suffix, one of `KEPT_SUFFIXES`, chooses the format.
        image: uint8 (H, W, 3) BGR.

    Raises:
        DiskFull, SinkError: it cannot be encoded or written.
    """
    part = hidden_beside(path)
    try:
        _, data = cv2.imencode(path.suffix.lower(), image)
        part.write_bytes(data.tobytes())
        part.replace(path)
    except cv2.error as error:
        raise SinkError(f"{path} cannot be encoded: {error.err}") from error
    except OSError as error:
        raise failure(path, error) from error
    finally:
        part.unlink(missing_ok=True)


class PictureSink:
    """Writes every overlay as a picture into one folder.

    A picture keeps its name and, where OpenCV can write that kind in colour, its suffix; else it becomes a PNG. Frames
    of a video or camera are JPEGs with the frame's number. Of pictures with the same name, from several folders, the
    second becomes ``name-2``.
    """

    def __init__(self, folder: Path, *, overwrite: bool = False) -> None:
        """Make the folder, where there is none.

        Args:
            folder: where to.
            overwrite: old pictures there may be replaced; the inputs themselves never are.

        Raises:
            SinkError: there cannot be such a folder.
        """
        self._folder = folder
        self._overwrite = overwrite
        self._written: set[Path] = set()
        self._made = not folder.exists()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise SinkError(f"{folder} is a file; the pictures need a folder") from error
        except OSError as error:
            raise SinkError(f"folder {folder} cannot be made: {error.strerror}") from error

    def write(self, rendered: Rendered) -> None:
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
        write_picture(target, rendered.image)
        self._written.add(target)

    def close(self) -> None:
        """Remove the folder again if it was made for nothing."""
        if self._made and not self._written and self._folder.is_dir() and not any(self._folder.iterdir()):
            self._folder.rmdir()

    def _target(self, frame: Frame) -> Path:
        source = Path(frame.name)
        suffix = source.suffix.lower()
        if suffix in PICTURE_SUFFIXES:
            stem, suffix = source.stem, source.suffix if suffix in KEPT_SUFFIXES else ".png"
        else:
            stem, suffix = f"{re.sub(r'[^0-9A-Za-z_-]+', '_', source.stem)}_{frame.index:06d}", ".jpg"
        target, number = self._folder / f"{stem}{suffix}", 1
        while target in self._written:
            number += 1
            target = self._folder / f"{stem}-{number}{suffix}"
        return target
