"""Read the pages and frames of an image file with Pillow (extra ``images``)."""

import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import cv2
import numpy as np

from camrt.errors import SourceError
from camrt.file_kind import UNKNOWN, FileKind
from camrt.image_decoding.header import tiff_fields
from camrt.image_decoding.levels import to_bytes
from camrt.image_decoding.picture import Picture
from camrt.image_decoding.pillow_pixels import ORIENTATION, colour, turned, upright

# The formats that Pillow may try. Left out: those that start a program (EPS) or that only a plugin of others can load.
_FORMATS: Final = (
    *("JPEG", "PNG", "TIFF", "WEBP", "AVIF", "BMP", "DIB", "GIF", "JPEG2000", "PPM", "ICO", "CUR", "ICNS"),
    *("PSD", "DDS", "QOI", "FITS", "SGI", "SUN", "TGA", "PCX", "DCX", "XBM", "XPM", "MSP", "IM", "FLI", "PCD"),
    *("PIXAR", "SPIDER", "BLP", "FTEX", "GBR", "IMT", "MCIDAS", "XVTHUMB"),
)
_LOG_LUV: Final = (34676, 34677)  # compression of floats, which OpenCV 4 writes
_TIFF_REDUCED_OR_MASK: Final = 5  # bits of the tag NewSubfileType


def import_pillow(kind: FileKind) -> ModuleType | None:
    """Return the module ``PIL.Image``; None if it, or what it needs for this kind, is not installed."""
    try:
        import PIL.Image
    except ImportError:
        return None
    if kind.name == "HEIF":
        try:
            import pillow_heif
        except ImportError:
            return None
        pillow_heif.register_heif_opener()
    elif kind.name in ("AVIF", "AVIF sequence"):
        from PIL import features

        if not features.check("avif"):
            return None
    return PIL.Image


def identify(path: Path) -> FileKind | None:
    """Return the kind of an image in a rare format that only Pillow recognises (TGA, PCX, ...); None: it is none.

    The image is decoded, because some of these formats have no clear first bytes.
    """
    if (pillow := import_pillow(UNKNOWN)) is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pillow.open(path, formats=_FORMATS) as file:
                file.load()
                return FileKind("image", str(file.format))
    except Exception:  # noqa: BLE001 - the readers of Pillow raise errors of many kinds
        return None


def read_with_pillow(pillow: ModuleType, data: bytes, name: str, kind: FileKind) -> Iterator[Picture]:
    """Yield the pictures of an image file.

    Args:
        pillow: the module of `import_pillow`.
        data: the whole file.
        name: name of the image in errors.
        kind: kind of the file.

    Raises:
        SourceError: the data are damaged, or no image.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on large images and on damaged tags, which are errors below
            file = pillow.open(io.BytesIO(data), formats=("HEIF",) if kind.name == "HEIF" else _FORMATS)
        with file:
            numbers, remark = _pages(file)
            for count, number in enumerate(numbers, start=1):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    if number:
                        file.seek(number)
                    file.load()
                    image, range_remark = upright(file, data, number)
                    duration = file.info.get("duration")
                seconds = duration / 1000.0 if isinstance(duration, (int, float)) and len(numbers) > 1 else None
                yield Picture(image, count, len(numbers), seconds, "; ".join(filter(None, (range_remark, remark))))
                remark = ""
    except pillow.DecompressionBombError as error:
        raise SourceError(f"{name} is too large: {error}") from error
    except pillow.UnidentifiedImageError as error:
        pictures = _rare_tiff(data) if kind.name == "TIFF" else []
        if not pictures:
            raise damaged(data, name, kind, "Pillow does not recognise it") from error
        yield from pictures
    except SourceError:
        raise
    except Exception as error:  # for damaged files the readers of Pillow raise errors of many kinds
        raise damaged(data, name, kind, str(error) or type(error).__name__) from error


def _pages(file: Any) -> tuple[list[int], str]:
    """Return the numbers of the pages or frames of an open file that are pictures of their own; and a remark."""
    if file.format in ("PSD", "ICO", "CUR", "ICNS"):  # layers, or sizes of one picture
        return [0], ""
    count = int(getattr(file, "n_frames", 1))
    if count == 1:
        return [0], ""
    numbers, size = list(range(count)), file.size
    if file.format == "PNG" and file.info.get("default_image"):  # for programs without animations, not part of it
        return numbers[1:], ""
    if file.format in ("MPO", "TIFF"):
        numbers = [0]
        for number in range(1, count):
            file.seek(number)
            if _is_page(file, size):
                numbers.append(number)
        file.seek(0)
    left_out = count - len(numbers)
    return numbers, f"{left_out} embedded previews or masks were left out" if left_out else ""


def _is_page(file: Any, size: tuple[int, int]) -> bool:
    """Tell whether the current page is a picture of its own, not a preview, a mask or a gain map."""
    if file.format == "TIFF":
        return not int(file.tag_v2.get(254, 0)) & _TIFF_REDUCED_OR_MASK
    return bool(file.size == size)  # gain maps and previews of phones are smaller than their photo


def _rare_tiff(data: bytes) -> list[Picture]:
    """Return the pages of a TIFF of several float channels, which OpenCV alone reads; empty: it does not, either."""
    fields, _ = tiff_fields(data)
    floats = fields.get(339, (1,))[0] == 3 or fields.get(259, (1,))[0] in _LOG_LUV
    if fields.get(284, (1,))[0] != 1 or not floats:  # separate planes, or whole numbers
        return []
    try:
        read, pages = cv2.imdecodemulti(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return []
    if not read or any(page.ndim == 3 and page.shape[2] not in (3, 4) for page in pages):
        return []
    pictures = []
    for number, page in enumerate(pages, start=1):
        values, remark = to_bytes(page[..., :3] if page.ndim == 3 else page)
        image = np.ascontiguousarray(values) if page.ndim == 3 else colour(values)
        image = turned(image, fields.get(ORIENTATION, (1,))[0])
        pictures.append(Picture(image, number, len(pages), remark=remark))
    return pictures


def damaged(data: bytes, name: str, kind: FileKind, reason: str) -> SourceError:
    """Return the error for a file that cannot be decoded."""
    what = f"the {kind.name} file is truncated or damaged" if kind.kind != "other" else "it is no known image"
    return SourceError(f"{name} cannot be decoded ({len(data)} bytes): {what} ({reason})")
