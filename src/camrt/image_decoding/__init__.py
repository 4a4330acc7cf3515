"""Decode the pictures of an image file: OpenCV for plain 8-bit files, Pillow (extra ``images``) for all others.

The reference is Pillow: orientation, pages and frames, palettes, CMYK. Alpha is dropped and not blended, as in Pillow's
``convert("RGB")``, which pipelines for training use. Beyond Pillow, values of more than 8 bits keep their range.
"""

import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from camrt.errors import SourceError
from camrt.file_kind import UNKNOWN, FileKind, kind_of_bytes
from camrt.image_decoding.header import SEVERAL, opencv_problem, png_chunks, tiff_fields
from camrt.image_decoding.levels import to_bytes

Image = NDArray[np.uint8]
"""uint8 (H, W, 3), BGR, as OpenCV reads it."""

INSTALL: Final = "pip install 'camrt[images]'"
# The formats that Pillow may try. Left out: those that start a program (EPS) or that only a plugin of others can load.
_FORMATS: Final = (
    *("JPEG", "PNG", "TIFF", "WEBP", "AVIF", "BMP", "DIB", "GIF", "JPEG2000", "PPM", "ICO", "CUR", "ICNS"),
    *("PSD", "DDS", "QOI", "FITS", "SGI", "SUN", "TGA", "PCX", "DCX", "XBM", "XPM", "MSP", "IM", "FLI", "PCD"),
    *("PIXAR", "SPIDER", "BLP", "FTEX", "GBR", "IMT", "MCIDAS", "XVTHUMB"),
)
_NEVER: Final = {
    "camera raw": "it is a raw file of a camera (DNG, CR2, NEF, ...); convert it to TIFF or JPEG",
    "JPEG XL": "it is JPEG XL; convert it to PNG or JPEG",
    "OpenEXR": "it is OpenEXR; convert it to TIFF or PNG",
    "Radiance HDR": "it is Radiance HDR; convert it to TIFF or PNG",
}
_ORIENTATION: Final = 0x0112
_LOG_LUV: Final = (34676, 34677)  # compression of floats, which OpenCV 4 writes
_TIFF_REDUCED_OR_MASK: Final = 5  # bits of the tag NewSubfileType


@dataclass(frozen=True, slots=True)
class Picture:
    """One page or frame of an image file."""

    image: Image
    page: int = 1
    """Number of the page or frame in the file, 1 first."""
    pages: int = 1
    """Number of pages or frames of the file."""
    seconds: float | None = None
    """Time that a frame of an animation is shown; None: it is no animation."""
    remark: str = ""
    """What was assumed about the range of its values, or left out; empty: nothing."""


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
    if (pillow := _pillow(kind)) is None:
        if kind.kind == "other":
            raise SourceError(f"{name} cannot be decoded ({len(data)} bytes): it is no image that OpenCV reads")
        if not problem:
            raise _damaged(data, name, kind, "OpenCV does not read it")
        if problem == SEVERAL and (image := _opencv(data)) is not None:
            yield Picture(image, remark=f"only its first picture was read; {INSTALL} reads all")
            return
        package = "pillow-heif" if kind.name == "HEIF" else "Pillow"
        raise SourceError(f"{name} needs {package}, because {problem}: {INSTALL}")
    yield from _with_pillow(pillow, data, name, kind)


def identify(path: Path) -> FileKind | None:
    """Return the kind of an image in a rare format that only Pillow recognises (TGA, PCX, ...); None: it is none.

    The image is decoded, because some of these formats have no clear first bytes.
    """
    if (pillow := _pillow(UNKNOWN)) is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pillow.open(path, formats=_FORMATS) as file:
                file.load()
                return FileKind("image", str(file.format))
    except Exception:  # noqa: BLE001 - the readers of Pillow raise errors of many kinds
        return None


def bytes_of(picture: Any, bits: int | None = None) -> tuple[Image, str]:
    """Return the pixels of a `PIL.Image.Image` as uint8 (H, W, 3) BGR, and a remark about the range of its values.

    Args:
        picture: of any mode.
        bits: number of bits of its values that the file states; None: unknown.
    """
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        values, remark = to_bytes(np.asarray(picture), bits)
        return _colour(values), remark
    if picture.mode == "LAB":
        from PIL import ImageCms

        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        picture = ImageCms.profileToProfile(picture, lab, srgb, outputMode="RGB")
    if picture.mode in ("La", "RGBa"):  # premultiplied
        picture = picture.convert("LA" if picture.mode == "La" else "RGBA")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on transparent palettes
        rgb = np.asarray(picture.convert("RGB"), np.uint8)
    return np.ascontiguousarray(rgb[..., ::-1]), ""


def _opencv(data: bytes) -> Image | None:
    try:
        # From memory: cv2.imread fills the missing part of a truncated JPEG with grey and reports nothing.
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if image is None else np.asarray(image, np.uint8)


def _pillow(kind: FileKind) -> ModuleType | None:
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


def _with_pillow(pillow: ModuleType, data: bytes, name: str, kind: FileKind) -> Iterator[Picture]:
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
                    image, range_remark = _upright(file, data, number)
                    duration = file.info.get("duration")
                seconds = duration / 1000.0 if isinstance(duration, (int, float)) and len(numbers) > 1 else None
                yield Picture(image, count, len(numbers), seconds, "; ".join(filter(None, (range_remark, remark))))
                remark = ""
    except pillow.DecompressionBombError as error:
        raise SourceError(f"{name} is too large: {error}") from error
    except pillow.UnidentifiedImageError as error:
        pictures = _rare_tiff(data) if kind.name == "TIFF" else []
        if not pictures:
            raise _damaged(data, name, kind, "Pillow does not recognise it") from error
        yield from pictures
    except SourceError:
        raise
    except Exception as error:  # for damaged files the readers of Pillow raise errors of many kinds
        raise _damaged(data, name, kind, str(error) or type(error).__name__) from error


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


def _upright(file: Any, data: bytes, number: int) -> tuple[Image, str]:
    """Return the pixels of the current page, turned as its orientation says, and a remark."""
    orientation = 1
    image: Image | None = None
    remark = ""
    if file.format in ("TIFF", "PNG"):
        image, remark = _deep_colour(file, data, number)
        if image is not None and file.format == "TIFF":  # Pillow turns its own pixels when it loads them
            orientation = int(file.tag_v2.get(_ORIENTATION, 1))
    if image is None and file.format == "TIFF" and file.mode == "I" and file.tag_v2.get(339, (1,))[0] == 1:
        values, remark = to_bytes(np.asarray(file).view(np.uint32), _stated_bits(file, data))  # Pillow adds a sign
        image = _colour(values)
    elif image is None:
        image, remark = bytes_of(file, _stated_bits(file, data))
    if file.format != "TIFF":
        try:
            orientation = int(file.getexif().get(_ORIENTATION, 1))
        except Exception:  # noqa: BLE001 - a damaged EXIF block says nothing about the orientation
            orientation = 1
    return turned(image, orientation), remark


def turned(image: Image, orientation: int) -> Image:
    """Return an image turned and mirrored as an EXIF orientation, 1 to 8, says; another number changes nothing."""
    if orientation in (5, 6, 7, 8):
        image = np.asarray(cv2.transpose(image), np.uint8)
    flip = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return image if flip is None else np.asarray(cv2.flip(image, flip), np.uint8)


def _deep_colour(file: Any, data: bytes, number: int) -> tuple[Image | None, str]:
    """Return the pixels of a colour image of 16 bits or floats, of which Pillow keeps 8 bits; None: it is no such."""
    if file.format == "PNG":
        header = dict(png_chunks(data)).get(b"IHDR", b"")
        deep = header[8:9] == b"\x10" and header[9:10] in (b"\x02", b"\x04", b"\x06")  # RGB, grey or RGB with alpha
    else:
        # OpenCV reads separate planes and premultiplied colours wrongly.
        plain = file.tag_v2.get(284, 1) == 1 and 1 not in file.tag_v2.get(338, ())
        deep = plain and max(file.tag_v2.get(258, (1,))) > 8 and int(file.tag_v2.get(277, 1)) >= 3
    if not deep:
        return None, ""
    unchanged = cv2.IMREAD_UNCHANGED
    more, images = cv2.imdecodemulti(np.frombuffer(data, np.uint8), unchanged, range=(number, number + 1))
    if not more or images[0].ndim != 3 or images[0].shape[2] not in (3, 4):
        return None, ""
    values, remark = to_bytes(images[0][..., :3], _stated_bits(file, data))
    return np.ascontiguousarray(values), remark


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
        image = np.ascontiguousarray(values) if page.ndim == 3 else _colour(values)
        image = turned(image, fields.get(_ORIENTATION, (1,))[0])
        pictures.append(Picture(image, number, len(pages), remark=remark))
    return pictures


def _stated_bits(file: Any, data: bytes) -> int | None:
    """Return the number of bits of the values of an image that its header states; None: it does not."""
    if file.format in ("PPM", "JPEG2000"):
        return 16  # Pillow scales them to 16 bits
    if file.format == "TIFF":
        largest = file.tag_v2.get(281, ())  # MaxSampleValue
        bits = max([*map(int, largest)], default=0).bit_length() or max(file.tag_v2.get(258, (1,)))
        return bits if 8 <= bits < 16 or (largest and bits == 16) else None
    if file.format == "PNG":
        significant = max(dict(png_chunks(data)).get(b"sBIT", b"\0"))
        high = int(np.asarray(file).max()) if file.mode.startswith("I") else 2**16
        # Values that use the lower bits only; the specification wants the upper ones to be used.
        return significant if 8 <= significant < 16 and high < 2**significant else None
    return None


def _colour(values: Image) -> Image:
    return np.asarray(cv2.cvtColor(values, cv2.COLOR_GRAY2BGR), np.uint8)


def _damaged(data: bytes, name: str, kind: FileKind, reason: str) -> SourceError:
    what = f"the {kind.name} file is truncated or damaged" if kind.kind != "other" else "it is no known image"
    return SourceError(f"{name} cannot be decoded ({len(data)} bytes): {what} ({reason})")


def _with_article(kind: FileKind) -> str:
    return kind.name if kind.kind == "other" else f"a {kind.name} file"
