"""Images: the array type, reading, and the images that paths name. Needs NumPy and OpenCV.

Every command finds and reads images here, so that the same folder is the same images everywhere.
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from camrt.errors import MissingInput, SourceError, UsageError
from camrt.image_decoding import decode_pictures
from camrt.image_decoding.picture import Image, Picture
from camrt.media_files import list_folder
from camrt.text import one_line

__all__ = ["Image", "Picture", "decode_image", "find_images", "list_images", "read_image", "read_pictures"]


def read_image(path: Path) -> Image:
    """Read an image, of several pages the first, as `read_pictures` does."""
    return next(read_pictures(path)).image


def read_pictures(path: Path) -> Iterator[Picture]:
    """Read every page or frame of an image file, one after the other, as the training of a classifier reads it.

    The reference is Pillow's ``convert("RGB")`` after `PIL.ImageOps.exif_transpose`: upright, grey and palettes as
    colour, alpha dropped. Values of more than 8 bits are reduced as `camrt.image_decoding.levels.to_bytes` says.

    Raises:
        SourceError: the file is missing, empty, truncated, no image, or needs Pillow (extra ``images``), which is not
            installed.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise MissingInput(f"{path} cannot be read: {error.strerror}") from error
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


def list_images(folder: Path) -> list[Path]:
    """List the images of a folder by their content, in natural order; there may be none.

    Sub-folders and hidden files are left out. Other files that are left out are logged.

    Raises:
        SourceError: the folder cannot be listed.
    """
    found = list_folder(folder)
    for line in [*found.problems, *found.lines(videos=False)]:
        logging.getLogger("camrt").warning("%s", one_line(f"{folder}: {line}"))
    return found.images


def find_images(paths: Sequence[Path]) -> list[Path]:
    """Return the image files that paths name: of a folder those that `list_images` lists, any other path as it is.

    Raises:
        UsageError: there are none.
        SourceError: a folder cannot be listed.
    """
    files = [file for path in paths for file in (list_images(path) if path.is_dir() else [path])]
    if not files:
        raise UsageError(f"no images in {', '.join(map(str, paths)) or 'an empty list of paths'}")
    return files
