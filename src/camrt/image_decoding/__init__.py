"""Decode the pictures of an image file: OpenCV for plain 8-bit files, Pillow (extra ``images``) for all others.

The reference is Pillow: orientation, pages and frames, palettes, CMYK. Alpha is dropped and not blended, as in Pillow's
``convert("RGB")``, which pipelines for training use. Beyond Pillow, values of more than 8 bits keep their range.
"""

from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np

from camrt.errors import SourceError
from camrt.file_kind import UNKNOWN, FileKind, kind_of_bytes
from camrt.image_decoding.header import SEVERAL, opencv_problem
from camrt.image_decoding.picture import Image, Picture
from camrt.image_decoding.pillow_reader import damaged, import_pillow, read_with_pillow

INSTALL: Final = "pip install 'camrt[images]'"
_NEVER: Final = {
    "camera raw": "it is a raw file of a camera (DNG, CR2, NEF, ...); convert it to TIFF or JPEG",
    "JPEG XL": "it is JPEG XL; convert it to PNG or JPEG",
    "OpenEXR": "it is OpenEXR; convert it to TIFF or PNG",
    "Radiance HDR": "it is Radiance HDR; convert it to TIFF or PNG",
}


def decode_pictures(data: bytes, name: str) -> Iterator[Picture]:
    """Decode the pictures of an image file one after the other.

    Args:
        data: the whole file, of any image format.
        name: name of the image in errors.

    Yields: the pages of a TIFF, the frames of an animation, the pictures of an MPO; of other files one.

    Raises:
        SourceError: the data are empty, damaged, no image, or of a kind that needs Pillow, which is not installed.
    """
    kind = kind_of_bytes(data[:4096])
    if kind.name in _NEVER:
        raise SourceError(f"{name} cannot be read: {_NEVER[kind.name]}")
    problem = opencv_problem(data, kind.name) if kind.kind == "image" else f"it is {_with_article(kind)}"
    if not problem and (image := _opencv(data)) is not None:
        yield Picture(image)
        return
    if kind.kind == "other" and kind is not UNKNOWN:
        advice = f": {kind.advice}" if kind.advice else "; it is no image"
        raise SourceError(f"{name} is {kind.name}{advice}")
    if (pillow := import_pillow(kind)) is None:
        if kind.kind == "other":
            raise SourceError(f"{name} cannot be decoded ({len(data)} bytes): it is no image that OpenCV reads")
        if not problem:
            raise damaged(data, name, kind, "OpenCV does not read it")
        if problem == SEVERAL and (image := _opencv(data)) is not None:
            yield Picture(image, remark=f"only its first picture was read; {INSTALL} reads all")
            return
        package = "pillow-heif" if kind.name == "HEIF" else "Pillow"
        raise SourceError(f"{name} needs {package}, because {problem}: {INSTALL}")
    yield from read_with_pillow(pillow, data, name, kind)


def _opencv(data: bytes) -> Image | None:
    try:
        # From memory: cv2.imread fills the missing part of a truncated JPEG with grey and reports nothing.
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if image is None else np.asarray(image, np.uint8)


def _with_article(kind: FileKind) -> str:
    return kind.name if kind.kind == "other" else f"a {kind.name} file"
