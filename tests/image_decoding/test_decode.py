"""Images of every kind that Pillow writes are read as Pillow reads them, with and without OpenCV."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from camrt.errors import SourceError
from camrt.image_decoding import decode_pictures
from camrt.image_decoding.header import opencv_problem
from camrt.image_decoding.picture import Picture
from camrt.images import decode_image
from support.needs import environment
from support.pictures import (
    as_pillow,
    assert_equal,
    colours,
    grey,
    in_bits,
    kind,
    pages,
    prefixed_webp,
    saved,
    several,
    turned_exif,
    xmp_jpeg,
)


def with_alpha():
    image = colours("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


KINDS = [
    kind("JPEG", lambda: saved(colours(), "JPEG")),
    kind("grey JPEG", lambda: saved(colours("L"), "JPEG")),
    kind("progressive JPEG", lambda: saved(colours(), "JPEG", progressive=True)),
    kind("CMYK JPEG", lambda: saved(colours("CMYK"), "JPEG")),
    kind("PNG", lambda: saved(colours(), "PNG")),
    kind("PNG with alpha", lambda: saved(with_alpha(), "PNG")),
    kind("grey PNG with alpha", lambda: saved(with_alpha().convert("LA"), "PNG")),
    kind("palette PNG", lambda: saved(colours("P"), "PNG")),
    kind("PNG of 1 bit", lambda: saved(colours("1"), "PNG")),
    kind("BMP", lambda: saved(colours(), "BMP")),
    kind("palette BMP", lambda: saved(colours("P"), "BMP")),
    kind("BMP of 32 bits", lambda: saved(colours("RGBA"), "BMP")),
    kind("BMP of 1 bit", lambda: saved(colours("1"), "BMP")),
    kind("WebP", lambda: saved(colours(), "WEBP")),
    kind("WebP with alpha", lambda: saved(with_alpha(), "WEBP", lossless=True, exact=True)),
    kind("AVIF", lambda: saved(colours(), "AVIF")),
    kind("AVIF with alpha", lambda: saved(with_alpha(), "AVIF")),
    kind("HEIC", lambda: saved(colours(), "HEIF")),
    kind("TIFF", lambda: saved(colours(), "TIFF", compression="tiff_lzw")),
    kind("TIFF with alpha", lambda: saved(with_alpha(), "TIFF")),
    kind("palette TIFF", lambda: saved(colours("P"), "TIFF")),
    kind("TIFF of 1 bit", lambda: saved(colours("1"), "TIFF", compression="group4")),
    kind("CMYK TIFF", lambda: saved(colours("CMYK"), "TIFF")),
    kind("YCbCr TIFF", lambda: saved(colours("YCbCr"), "TIFF", compression="jpeg")),
    kind("JPEG 2000", lambda: saved(colours(), "JPEG2000")),
    kind("PBM", lambda: saved(colours("1"), "PPM"), what="PBM, PGM, PPM"),
    kind("PGM", lambda: saved(colours("L"), "PPM"), what="PBM, PGM, PPM"),
    kind("PPM", lambda: saved(colours(), "PPM"), what="PBM, PGM, PPM"),
    kind("TGA", lambda: saved(colours(), "TGA"), what="TGA, PCX, ICO, SGI, QOI and rarer formats"),
    kind("PCX", lambda: saved(colours(), "PCX"), what="TGA, PCX, ICO, SGI, QOI and rarer formats"),
    kind("ICO", lambda: saved(colours(), "ICO"), what="TGA, PCX, ICO, SGI, QOI and rarer formats"),
    kind("SGI", lambda: saved(colours(), "SGI"), what="TGA, PCX, ICO, SGI, QOI and rarer formats"),
    kind("GIF", lambda: saved(colours("P"), "GIF"), what="GIF of one frame"),
]


@pytest.mark.parametrize("make", KINDS)
def test_an_image_equals_that_of_pillow(make):
    data = make()
    (picture,) = decode_pictures(data, "a")
    assert_equal(picture.image, as_pillow(data))
    assert picture == Picture(picture.image)


@pytest.mark.parametrize(
    ("make", "seconds"),
    [
        kind("TIFF of several pages", lambda: several("TIFF"), None),
        kind("MPO", lambda: several("MPO"), None),
        kind("animated PNG", lambda: several("PNG", duration=200), 0.2),
        kind("animated WebP", lambda: several("WEBP", duration=200, lossless=True), 0.2),
        kind("animated AVIF", lambda: several("AVIF", duration=200), 0.2),
        kind("HEIC of several pictures", lambda: several("HEIF"), None),
    ],
)
def test_every_page_or_frame_is_read(make, seconds):
    data = make()
    read = list(decode_pictures(data, "a"))
    assert [(one.page, one.pages, one.seconds) for one in read] == [(page, 3, seconds) for page in (1, 2, 3)]
    for number, picture in enumerate(read):
        assert_equal(picture.image, as_pillow(data, number))


@pytest.mark.input_kind("image", "previews and gain maps in TIFF and JPEG", "Pillow", "left out, with a remark")
def test_previews_inside_a_file_are_left_out_with_a_remark():
    photo, gain_map = colours(), colours(size=(16, 12))
    (picture,) = decode_pictures(saved(photo, "MPO", save_all=True, append_images=[gain_map]), "a")
    assert picture.image.shape == (24, 32, 3)
    assert picture.remark == "1 embedded previews or masks were left out"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", r"a is empty \(0 bytes\): copy or record it again"),
        (b"<!DOCTYPE html><title>Log in</title>", "a is a web page, as from a download that needs a login: download"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a is a Git LFS pointer, .*: git lfs pull"),
        (b"hello\n", "a is a text file; it is no image"),
        (b"\xff\x0a\x90\x08", "it is JPEG XL; convert it"),
        (b"II*\0\x10\0\0\0CR\x02\0", "it is a raw file of a camera"),
        (bytes(range(200, 256)) * 9, "it is no known image"),
        (saved(colours(), "PNG")[:-40], r"a cannot be decoded \(\d+ bytes\): the PNG file is truncated or damaged"),
        (saved(colours(), "AVIF")[:-40], "the AVIF file is truncated or damaged"),
    ],
)
@pytest.mark.input_kind("image", "text, web page, Git LFS pointer, camera raw, JPEG XL", "-", "refused for what it is")
def test_what_is_no_image_is_named_for_what_it_is(data, reason):
    with pytest.raises(SourceError, match=reason):
        decode_image(data, "a")


@pytest.mark.parametrize("make", [pytest.param(*case.values, id=case.id) for case in KINDS])
def test_damaged_images_give_an_image_or_one_error(make):
    data, random = make(), np.random.default_rng(0)
    for _ in range(12):
        damaged = bytearray(data[: random.integers(1, len(data))] if random.random() < 0.5 else data)
        for at in random.integers(0, len(damaged), 3):
            damaged[at] = random.integers(256)
        try:
            read = [picture.image.shape for picture in decode_pictures(bytes(damaged), "a")]
        except SourceError as error:
            read = str(error)
        assert read
        assert "object at" not in read


WITHOUT_PILLOW = """
import sys
sys.modules["PIL"] = None
from pathlib import Path
from camrt.errors import SourceError
from camrt.images import read_image
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        print(path.name, read_image(path).mean().round(1))
    except SourceError as error:
        print(path.name, str(error).partition(" ")[2])
"""


@pytest.mark.process
@pytest.mark.input_kind("image", "kinds that OpenCV reads wrongly, without Pillow", "-", "refused with the way out")
def test_without_pillow_opencv_reads_plain_images_and_others_are_refused(tmp_path):
    plain = {"jpg": "JPEG", "png": "PNG", "bmp": "BMP", "webp": "WEBP", "tif": "TIFF", "ppm": "PPM"}
    for suffix, name in plain.items():
        (tmp_path / f"plain.{suffix}").write_bytes(saved(colours(), name))
    (tmp_path / "plain_first.mpo").write_bytes(several("MPO"))
    (tmp_path / "x.avif").write_bytes(saved(colours(), "AVIF"))
    (tmp_path / "x.heic").write_bytes(saved(colours(), "HEIF"))
    (tmp_path / "x12.png").write_bytes(grey(in_bits(12), "PNG"))
    (tmp_path / "xcmyk.jpg").write_bytes(saved(colours("CMYK"), "JPEG"))
    (tmp_path / "xpages.tif").write_bytes(several("TIFF"))
    code = [sys.executable, "-c", WITHOUT_PILLOW, tmp_path]
    done = subprocess.run(code, env=environment(), capture_output=True, text=True, check=True, timeout=60)
    lines = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    expected = decode_image(saved(colours(), "PNG"), "a").mean()
    assert float(lines.pop("plain_first.mpo")) == pytest.approx(np.asarray(pages()[0]).mean(), abs=1)
    assert {name for name in lines if name.startswith("plain")} == {f"plain.{suffix}" for suffix in plain}
    assert all(float(value) == pytest.approx(expected, abs=1) for name, value in lines.items() if name[0] == "p")
    refused = {name: value for name, value in lines.items() if name[0] == "x"}
    assert len(refused) == 5
    assert all(value.endswith(": pip install 'camrt[images]'") for value in refused.values())
    assert refused["x.heic"].startswith("needs pillow-heif")
    assert refused["x12.png"].startswith("needs Pillow, because it has 16 bits")


def test_the_header_sends_plain_images_to_opencv():
    for name in ("JPEG", "PNG", "BMP"):
        assert opencv_problem(saved(colours(), name), name) == ""
    assert opencv_problem(saved(colours("CMYK"), "JPEG"), "JPEG") == "it has 4 colour components (CMYK)"
    assert opencv_problem(several("TIFF"), "TIFF") == "it has several pages"
    for orientation, problem in ((1, ""), (6, "it holds an orientation")):
        assert opencv_problem(prefixed_webp(orientation), "WebP") == problem
        assert opencv_problem(saved(colours(), "PNG", exif=turned_exif(orientation)), "PNG") == problem
    assert opencv_problem(xmp_jpeg(1), "JPEG") == ""
    assert opencv_problem(xmp_jpeg(6), "JPEG") == "its XMP holds an orientation"
    both = saved(colours(), "JPEG", exif=turned_exif(6), xmp=b'<r tiff:Orientation="6"/>')
    assert opencv_problem(both, "JPEG") == ""  # OpenCV reads EXIF
    assert_equal(decode_image(both, "a"), as_pillow(both))
