"""Images: the array type, the file suffixes, reading, listing, natural order. Needs NumPy and OpenCV.

Every command finds and reads images here, so that the same folder is the same images everywhere.
"""

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from camrt.errors import SourceError, UsageError

Image = NDArray[np.uint8]
"""uint8 (H, W, 3), BGR, as OpenCV reads it."""

IMAGE_SUFFIXES: Final = frozenset(
    (".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".jp2", ".avif")
)


def is_image(path: Path) -> bool:
    """Tell by the suffix of a path whether it names an image."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def read_image(path: Path) -> Image:
    """Read an image of any kind as the training of a classifier reads it.

    The EXIF orientation is applied. Grey and palette images become colour. 16 bits become 8 (the upper ones). An alpha
    channel is dropped, not blended, as in Pillow's ``convert("RGB")`` (of a TIFF, OpenCV blends it with black).

    Returns: uint8 (H, W, 3) BGR.

    Raises:
        SourceError: the file is missing, empty, truncated, or no image.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    if not data:
        raise SourceError(f"{path} is empty (0 bytes)")
    try:
        # From memory: cv2.imread fills the missing part of a truncated JPEG with grey and reports nothing.
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise SourceError(f"{path} cannot be decoded: {error.err}") from error
    if image is None:
        raise SourceError(
            f"{path} cannot be decoded ({len(data)} bytes): it is truncated, or OpenCV does not read its format"
        )
    return np.asarray(image, np.uint8)


def natural_order(path: Path) -> tuple[list[tuple[bool, int, str]], str]:
    """Return a sort key that puts ``img2`` before ``img10`` and ignores case."""
    parts = re.split(r"([0-9]+)", str(path))
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part.casefold()) for part in parts], str(path)


def list_files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """List the files of a folder that have one of the suffixes, in natural order.

    Subfolders and hidden files are left out.

    Args:
        folder: the folder.
        suffixes: in lower case, with the dot; case is ignored in the folder.

    Raises:
        SourceError: the folder cannot be listed.
    """
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise SourceError(f"folder {folder} cannot be listed: {error.strerror}") from error
    files = (entry for entry in entries if not entry.name.startswith(".") and entry.suffix.lower() in suffixes)
    return sorted((file for file in files if file.is_file()), key=natural_order)


def list_images(folder: Path) -> list[Path]:
    """List the images of a folder as `list_files` does; there may be none. Raises: SourceError."""
    return list_files(folder, IMAGE_SUFFIXES)


def find_images(paths: Sequence[Path]) -> list[Path]:
    """Return the image files that paths name: of a folder those that `list_images` lists, any other path as it is.

    Raises:
        UsageError: there are none.
        SourceError: a folder cannot be listed.
    """
    files = [file for path in paths for file in (list_images(path) if path.is_dir() else [path])]
    if not files:
        places = ", ".join(map(str, paths)) or "an empty list of paths"
        raise UsageError(f"no images in {places}; an image ends in {' '.join(sorted(IMAGE_SUFFIXES))}")
    return files
