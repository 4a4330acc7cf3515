"""Images: the array type, reading, listing, natural order. Needs NumPy and OpenCV.

Every command finds and reads images here, so that the same folder is the same images everywhere.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

from camrt.errors import SourceError, UsageError
from camrt.image_decoding import Image, Picture, decode_pictures

__all__ = [
    "IMAGE_SUFFIXES", "Image", "Picture", "decode_image", "find_images", "is_image", "list_files", "list_images",
    "natural_order", "read_image", "read_pictures",
]  # fmt: skip

IMAGE_SUFFIXES: Final = frozenset(
    (".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".jp2", ".avif")
)


def is_image(path: Path) -> bool:
    """Tell by the suffix of a path whether it names an image."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def read_image(path: Path) -> Image:
    """Read an image, of several pages the first, as `read_pictures` does."""
    return next(read_pictures(path)).image


def read_pictures(path: Path) -> Iterator[Picture]:
    """Read every page or frame of an image file, one after the other, as the training of a classifier reads it.

    The reference is Pillow's ``convert("RGB")`` after `PIL.ImageOps.exif_transpose`: upright, grey and palettes as
    colour, alpha dropped. Values of more than 8 bits are reduced as `camrt.image_levels.to_bytes` says.

    Raises:
        SourceError: the file is missing, empty, truncated, no image, or needs Pillow (extra ``images``), which is not
            installed.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    if not data:
        raise SourceError(f"{path} is empty (0 bytes)")
    yield from decode_pictures(data, str(path))


def decode_image(data: bytes, name: str) -> Image:
    """Decode an image, of several pages the first, as `read_pictures` does.

    Args:
        data: the whole file.
        name: name of the image in errors.

    Returns: uint8 (H, W, 3) BGR.

    Raises:
        SourceError: the data are empty, truncated, or no image.
    """
    return next(decode_pictures(data, name)).image


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
