"""Pixels are upright, in their true range and in sRGB, as Pillow gives them in 8 bits."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from camrt.image_decoding import decode_pictures
from camrt.image_decoding.pillow_pixels import turned
from camrt.images import decode_image
from support.overlays import gradient_image
from support.pictures import (
    EQUAL,
    SHADES,
    as_pillow,
    assert_equal,
    colours,
    deep,
    grey,
    in_bits,
    kind,
    prefixed_webp,
    saved,
    turned_exif,
    xmp_jpeg,
)


def turned_heic(orientation):
    image = colours()
    image.info["exif"] = turned_exif(orientation).tobytes()  # pillow-heif makes an irot box of it
    return saved(image, "HEIF")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    "make",
    [
        kind("turned JPEG", lambda turn: saved(colours(), "JPEG", exif=turned_exif(turn))),
        kind("turned PNG", lambda turn: saved(colours(), "PNG", exif=turned_exif(turn))),
        kind("turned TIFF", lambda turn: saved(colours(), "TIFF", exif=turned_exif(turn))),
        kind("turned WebP", lambda turn: saved(colours(), "WEBP", exif=turned_exif(turn))),
        kind("turned AVIF", lambda turn: saved(colours(), "AVIF", exif=turned_exif(turn)), what="AVIF turned by irot"),
        kind("turned HEIC", turned_heic, what="HEIC turned by irot"),
        kind("WebP with prefixed EXIF", prefixed_webp),
        kind("JPEG turned by XMP", xmp_jpeg),
    ],
)
def test_a_turned_image_is_upright(make, orientation):
    data = make(orientation)
    image = decode_image(data, "a")
    assert_equal(image, as_pillow(data))
    assert image.shape[:2] == ((32, 24) if orientation > 4 else (24, 32))


def test_each_orientation_turns_as_in_pillow():
    for orientation in range(1, 9):
        expected = as_pillow(saved(colours(), "PNG", exif=turned_exif(orientation)))
        np.testing.assert_array_equal(turned(gradient_image(24, 32, shade=90), orientation), expected)


def deep_png(channels, bits, significant=None):
    """Return a PNG of 16 bits whose values are `SHADES` in the lower ``bits`` bits."""
    values = np.repeat((SHADES * 2 ** (bits - 8)).astype(">u2")[..., None], channels, 2)
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    header = struct.pack(">IIBBBBB", 32, 24, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    if significant is not None:
        chunks.insert(1, (b"sBIT", bytes([significant] * channels)))
    parts = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def colour_tiff(values):
    return cv2.imencode(".tif", np.repeat(values[..., None], 3, 2))[1].tobytes()


def by_tifffile(values):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, photometric="rgb" if values.ndim == 3 else "minisblack")
    return buffer.getvalue()


def deep_tiff(bits):
    return colour_tiff((SHADES * 2 ** (bits - 8)).astype(np.uint16))


@pytest.mark.parametrize(
    ("make", "remark"),
    [
        deep("16-bit PNG", lambda: grey(in_bits(16), "PNG"), ""),
        deep("12 bits in 16-bit PNG", lambda: grey(in_bits(12), "PNG"), "read as 12 bits in 16"),
        deep("14 bits in 16-bit TIFF", lambda: grey(in_bits(14), "TIFF"), "read as 14 bits in 16"),
        deep("10 bits in 16-bit PNG", lambda: grey(in_bits(10), "PNG"), "read as 10 bits in 16"),
        deep("12-bit PNG with sBIT", lambda: deep_png(1, 12, significant=12), ""),
        deep("16-bit colour PNG", lambda: deep_png(3, 16), ""),
        deep("12 bits in 16-bit colour PNG", lambda: deep_png(3, 12), "read as 12 bits in 16"),
        deep("12 bits in 16-bit grey PNG with alpha", lambda: deep_png(2, 12), "read as 12 bits in 16"),
        deep("12 bits in 16-bit colour PNG with alpha", lambda: deep_png(4, 12), "read as 12 bits in 16"),
        deep("12 bits in 16-bit colour TIFF", lambda: deep_tiff(12), "read as 12 bits in 16"),
        deep("16-bit PGM", lambda: b"P5 32 24 65535\n" + in_bits(16).byteswap().tobytes(), ""),
        kind(
            "float TIFF from 0 to 255", lambda: grey(SHADES.astype(np.float32), "TIFF"), "its values were read as 0 to"
        ),
        deep("float TIFF from 0 to 1", lambda: grey((SHADES / 255).astype(np.float32), "TIFF"), "read as 0 to 1"),
        deep("float TIFF of any range", lambda: grey((SHADES - 40).astype(np.float32), "TIFF"), "-40 to 215, were"),
        deep("float colour TIFF", lambda: by_tifffile(np.dstack([SHADES / 255] * 3).astype("f")), "read as 0 to 1"),
        deep("double TIFF", lambda: by_tifffile(SHADES - 40), "-40 to 215, were"),
        deep("uint32 TIFF", lambda: by_tifffile((SHADES * 16843009).astype(np.uint32)), "0 to 4294967295, were"),
        deep("int32 TIFF", lambda: grey((SHADES * 1000).astype(np.int32), "TIFF"), "0 to 255000, were stretched"),
        deep("int16 TIFF with a sign", lambda: grey((SHADES - 128).astype(np.int32), "TIFF"), "-128 to 127, were"),
    ],
)
def test_the_range_of_deep_values_is_kept(make, remark):
    (picture,) = decode_pictures(make(), "a")
    assert_equal(picture.image, np.repeat(SHADES.astype(np.uint8)[..., None], 3, 2))
    assert remark in picture.remark
    assert bool(remark) == bool(picture.remark)


@pytest.mark.input_kind("image", "LAB TIFF", "Pillow's ImageCms", EQUAL)
def test_lab_becomes_srgb():
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    data = saved(ImageCms.profileToProfile(colours(), *profiles, outputMode="LAB"), "TIFF")
    assert_equal(decode_image(data, "a"), gradient_image(24, 32, shade=90), levels=40)  # LAB rounds dark colours
    with Image.open(io.BytesIO(data)) as file:
        back = ImageCms.profileToProfile(file, *reversed(profiles), outputMode="RGB")
    assert_equal(decode_image(data, "a"), np.asarray(back)[..., ::-1])
