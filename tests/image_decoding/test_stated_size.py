"""The size that an image's header states, without decoding it, is Pillow's."""

import io

import numpy as np
import pytest
from PIL import Image

from camrt.image_decoding.header import stated_size

SIZES = [(1, 1), (37, 22), (640, 480), (300, 1)]
FORMATS = [
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("PNG", {}),
    ("BMP", {}),
    ("WebP", {}),
    ("WebP", {"lossless": True}),
    ("WebP", {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"}),
    ("GIF", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("AVIF", {}),
]


def encoded(size, kind, **options):
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("kind", "options"), FORMATS)
def test_the_size_is_that_of_the_image(size, kind, options):
    assert stated_size(encoded(size, kind, **options), kind) == size


def test_the_size_of_a_heif_image_is_stated():
    heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    heif.register_heif_opener()
    assert stated_size(encoded((640, 480), "HEIF"), "HEIF") == (640, 480)


@pytest.mark.parametrize("kind", sorted({kind for kind, _ in FORMATS}))
def test_a_file_that_is_cut_off_states_its_size_or_none(kind):
    data = encoded((37, 22), kind)
    for length in range(0, min(len(data), 200)):
        assert stated_size(data[:length], kind) in (None, (37, 22), (37, 0), (0, 22))


def test_other_formats_state_none():
    assert stated_size(b"P6 2 2 255 ............", "PNM") is None
