"""Image files of many kinds, made with Pillow, and the pixels that Pillow reads from them."""

import io
import struct

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageOps

from support.overlays import gradient_image

pillow_heif.register_heif_opener()

EQUAL = "equal within 1 grey level"


def colours(mode="RGB", size=(32, 24)):
    """Return an image of smooth colours, which lossy formats change little."""
    return Image.fromarray(gradient_image(size[1], size[0], shade=90)[..., ::-1]).convert(mode)


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def as_pillow(data, page=0):
    with Image.open(io.BytesIO(data)) as file:
        file.seek(page)
        return np.asarray(ImageOps.exif_transpose(file).convert("RGB"))[..., ::-1]


def assert_equal(image, expected, levels=1):
    assert (image.shape, image.dtype) == (expected.shape, np.uint8)
    assert np.abs(image.astype(int) - expected).max() <= levels


def turned_exif(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def kind(name, *arguments, what=None):
    mark = pytest.mark.input_kind("image", what or name, "Pillow", EQUAL)
    return pytest.param(*arguments, id=name, marks=mark)


def deep(name, *arguments):
    mark = pytest.mark.input_kind("image", name, "the same image in 8 bits", EQUAL)
    return pytest.param(*arguments, id=name, marks=mark)


def prefixed_webp(orientation):
    """Return a WebP whose EXIF chunk begins with ``Exif``, as older programs wrote it."""
    data = saved(colours(), "WEBP", exif=turned_exif(orientation))
    at = data.index(b"EXIF")
    size = struct.unpack_from("<I", data, at + 4)[0]
    content = b"Exif\0\0" + data[at + 8 :]
    body = data[12:at] + b"EXIF" + struct.pack("<I", size + 6) + content
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def xmp_jpeg(orientation):
    return saved(colours(), "JPEG", xmp=f'<x:xmpmeta><r tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode())


SHADES = np.tile(np.linspace(0, 255, 32), (24, 1))


def grey(values, kind):
    return saved(Image.fromarray(values), kind)


def in_bits(bits):
    return (SHADES * 2 ** (bits - 8)).astype(np.uint16)


def pages(count=3):
    return [Image.new("RGB", (16, 12), (50 * number, 10, 200)) for number in range(count)]


def several(kind, **options):
    first, *others = pages()
    return saved(first, kind, save_all=True, append_images=others, **options)
