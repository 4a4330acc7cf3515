"""Write each overlay as an image into a folder."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Final

import cv2

from camrt.errors import SinkError
from camrt.files import atomic_write, file_name, refuse_existing, write_error
from camrt.images import Image
from camrt.runtime.frames import Frame, Rendered
from camrt.runtime.sinks.rotation import numbered

KEPT_SUFFIXES: Final = (".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".webp", ".tif", ".tiff")


def write_image(path: Path, image: Image) -> None:
    """Write an image file completely or not at all; an existing file is replaced.

    Args:
        path: the file; its suffix, one of `KEPT_SUFFIXES`, selects the format.
        image: uint8 (H, W, 3) BGR.

    Raises:
        DiskFull, SinkError: the image cannot be encoded or written.
    """
    try:
        _, data = cv2.imencode(path.suffix.lower(), image)
    except cv2.error as error:
        raise SinkError(f"{path} cannot be encoded: {error.err}") from error
    with atomic_write(path) as part:
        part.write_bytes(data.tobytes())


class ImageSink:
    """Writes every overlay as an image into one folder.

    An overlay of an image file keeps the file's name, and its suffix if OpenCV can write that format in colour; if not,
    it becomes a PNG. Pages of one file have their number in the name. Overlays of a video or a live source are JPEGs
    with the frame number. If images from several folders have the same name, the second is written as ``name-2``.
    """

    def __init__(self, folder: Path, *, overwrite: bool = False, live: bool = False, resume: bool = False) -> None:
        """Create the folder if it does not exist.

        Args:
            folder: the folder.
            overwrite: allow existing images to be replaced; an input is never replaced.
            live: the frames come from one live source.
            resume: continue the numbers of an earlier run.

        Raises:
            SinkError: the folder cannot be created.
        """
        self._folder = folder
        self._overwrite = overwrite
        self._live = live
        # Number of the source's frame 0; None: unknown before the first frame, which has the name.
        self._first = None if resume and not overwrite else 0
        self._names: set[str] = set()  # names in use; numbered frames are not listed, as they would fill the memory
        self._made = not folder.exists()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise SinkError(f"{folder} is a file; images need a folder") from error
        except OSError as error:
            raise SinkError(f"folder {folder} cannot be created: {error.strerror}") from error

    def write(self, rendered: Rendered, /) -> None:
        """Write one image completely or not at all; frames without a signal are left out.

        Raises:
            UsageError: the file exists and may not be replaced.
            DiskFull, SinkError: the file is the input itself, or cannot be written.
        """
        if rendered.frame.lost:
            return
        target = self._target(rendered.frame)
        refuse_existing(target, overwrite=self._overwrite)
        source = rendered.frame.file
        if source is not None and target.exists() and source.exists() and target.samefile(source):
            raise SinkError(f"{target} is the input itself and is not replaced; choose another folder")
        write_image(target, rendered.image)

    def close(self) -> None:
        """Remove the folder if this sink created it and wrote nothing."""
        if self._made:
            with suppress(OSError):  # the folder is not empty
                self._folder.rmdir()

    def _target(self, frame: Frame) -> Path:
        if frame.file is None:
            host = frame.name.partition("://")[2]
            stem = re.sub(r"[^0-9A-Za-z_-]+", "_", host or Path(frame.name).stem)
            if self._first is None:
                self._first = _next_number(self._folder, stem)
            return self._folder / file_name(stem, f"_{self._first + frame.index:06d}.jpg")
        target, number = kept_name(frame.file, frame.page), 1
        while target in self._names:
            number += 1
            target = kept_name(frame.file, frame.page, f"-{number}")
        self._names.add(target)
        return self._folder / target


def kept_name(file: Path, page: int | None = None, ending: str = "") -> str:
    """Return the name of the overlay of an image file: ``scan.page2-2.tif``, or .png for a suffix that is not kept."""
    suffix = file.suffix if file.suffix.lower() in KEPT_SUFFIXES else ".png"
    return file_name(file.stem, f"{'' if page is None else f'.page{page}'}{ending}{suffix}")


def _next_number(folder: Path, stem: str) -> int:
    """Return the highest number of the files ``stem_000000.jpg`` and so on, plus one. Raises: SinkError."""
    before = file_name(stem, "_000000.jpg").removesuffix("000000.jpg")
    name = re.compile(rf"{re.escape(before)}(\d{{6,}})\.jpg")
    try:
        return max((number + 1 for number, _ in numbered(folder, name)), default=0)
    except OSError as error:
        raise write_error(folder, error) from error
