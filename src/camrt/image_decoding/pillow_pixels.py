"""Pixels of an image that Pillow has opened: upright, 8 bits a channel, in BGR, of values in their whole range."""

import warnings
from typing import Any, Final

import cv2
import numpy as np

from camrt.image_decoding.header import png_chunks
from camrt.image_decoding.levels import to_bytes
from camrt.image_decoding.picture import Image

ORIENTATION: Final = 0x0112
"""Number of the tag, in EXIF and TIFF."""


def bytes_of(picture: Any, bits: int | None = None) -> tuple[Image, str]:
    """Return the pixels of a `PIL.Image.Image` as uint8 (H, W, 3) BGR, and a remark about the range of its values.

    Args:
        picture: of any mode.
        bits: number of bits of its values that the file states; None: unknown.
    """
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        values, remark = to_bytes(np.asarray(picture), bits)
        return colour(values), remark
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


def upright(file: Any, data: bytes, number: int) -> tuple[Image, str]:
    """Return the pixels of the current page, turned as its orientation says, and a remark."""
    orientation = 1
    image: Image | None = None
    remark = ""
    if file.format in ("TIFF", "PNG"):
        image, remark = _deep_colour(file, data, number)
        if image is not None and file.format == "TIFF":  # Pillow turns its own pixels when it loads them
            orientation = int(file.tag_v2.get(ORIENTATION, 1))
    if image is None and file.format == "TIFF" and file.mode == "I" and file.tag_v2.get(339, (1,))[0] == 1:
        values, remark = to_bytes(np.asarray(file).view(np.uint32), _stated_bits(file, data))  # Pillow adds a sign
        image = colour(values)
    elif image is None:
        image, remark = bytes_of(file, _stated_bits(file, data))
    if file.format != "TIFF":
        try:
            orientation = int(file.getexif().get(ORIENTATION, 1))
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


def colour(values: Image) -> Image:
    """Return a grey image, uint8 (H, W), as BGR."""
    return np.asarray(cv2.cvtColor(values, cv2.COLOR_GRAY2BGR), np.uint8)
