"""Every kind of picture becomes (H, W, 3) uint8 BGR; a broken one is named and passed over."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from camrt.errors import SourceError
from camrt.runtime.sources import open_source
from camrt.runtime.sources.images import read_image
from support.overlays import picture


def saved(path, image, **options):
    image.save(path, **options)
    return path


def test_reads_a_colour_picture_as_blue_green_red(tmp_path):
    image = read_image(saved(tmp_path / "a.png", Image.new("RGB", (5, 4), (10, 20, 30))))
    assert (image.shape, image.dtype) == ((4, 5, 3), np.uint8)
    assert image[0, 0].tolist() == [30, 20, 10]


def test_a_grey_picture_becomes_colour(tmp_path):
    assert read_image(saved(tmp_path / "a.jpg", Image.new("L", (5, 4), 77))).tolist() == np.full((4, 5, 3), 77).tolist()


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3)])
def test_of_sixteen_bits_the_upper_eight_stay(tmp_path, suffix, shape):
    path = tmp_path / f"a{suffix}"
    assert cv2.imwrite(str(path), np.full(shape, 40000, np.uint16))
    assert read_image(path).tolist() == np.full((4, 5, 3), 40000 >> 8).tolist()


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_alpha_is_dropped_as_pillow_does(tmp_path, suffix):
    source = Image.new("RGBA", (5, 4), (10, 20, 30, 0))
    path = saved(tmp_path / f"a{suffix}", source, **({"lossless": True, "exact": True} if suffix == ".webp" else {}))
    assert read_image(path)[..., ::-1].tolist() == np.asarray(source.convert("RGB")).tolist()


def test_a_palette_is_looked_up(tmp_path):
    source = Image.new("P", (5, 4), 1)
    source.putpalette([0, 0, 0, 10, 20, 30])
    assert read_image(saved(tmp_path / "a.png", source))[3, 4].tolist() == [30, 20, 10]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(tmp_path, orientation):
    upright = Image.fromarray(picture(16, 32)[..., ::-1])
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "a.jpg", upright, exif=exif, quality=100, subsampling=0)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))[..., ::-1]
    np.testing.assert_allclose(read_image(path).astype(int), expected.astype(int), atol=3)


def test_a_single_pixel_is_a_picture(tmp_path):
    assert read_image(saved(tmp_path / "a.png", Image.new("RGB", (1, 1), (1, 2, 3)))).tolist() == [[[3, 2, 1]]]


def test_a_name_in_any_script_is_a_name(tmp_path):
    path = saved(tmp_path / "снимок 猫 100%.png", Image.new("RGB", (2, 2)))
    assert open_source(str(path)).read().name == str(path)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tiff"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.99])
def test_a_truncated_picture_is_refused(tmp_path, suffix, kept):
    data = cv2.imencode(suffix, np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8))[1].tobytes()
    path = tmp_path / f"a{suffix}"
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(SourceError, match=r"a\.\w+ cannot be decoded \(\d+ bytes\)"):
        read_image(path)


@pytest.mark.parametrize(("data", "message"), [(b"", "is empty"), (b"hello\n" * 20, "cannot be decoded")])
def test_a_single_picture_that_cannot_be_read_is_an_error(tmp_path, data, message):
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(SourceError, match=message):
        open_source(str(tmp_path / "a.png")).read()


def test_broken_pictures_of_a_folder_are_named_and_passed_over(tmp_path):
    good = cv2.imencode(".png", picture())[1].tobytes()
    for name, data in {"1.png": good, "2.png": good[:-20], "3.png": b"", "4.jpg": b"text", "5.png": good}.items():
        (tmp_path / name).write_bytes(data)
    source = open_source(str(tmp_path))
    frames = [source.read(), source.read()]
    assert source.read() is None
    assert [(frame.index, Path(frame.name).name) for frame in frames] == [(0, "1.png"), (4, "5.png")]
    assert [problem.partition(" ")[0] for problem in source.problems] == [
        str(tmp_path / name) for name in ("2.png", "3.png", "4.jpg")
    ]


def test_a_folder_without_one_readable_picture_is_an_error(tmp_path):
    for name in ("1.png", "2.png"):
        (tmp_path / name).write_bytes(b"")
    source = open_source(str(tmp_path))
    with pytest.raises(SourceError, match="none of the 2 pictures"):
        source.read()
    assert len(source.problems) == 2


def test_pictures_of_different_sizes_follow_each_other(tmp_path):
    for number, size in enumerate([(64, 48), (3, 200), (1, 1)]):
        saved(tmp_path / f"{number}.png", Image.new("RGB", size))
    source = open_source(str(tmp_path))
    assert [source.read().image.shape for _ in range(3)] == [(48, 64, 3), (200, 3, 3), (1, 1, 3)]


def test_nothing_is_read_after_close(tmp_path):
    saved(tmp_path / "a.png", Image.new("RGB", (2, 2)))
    source = open_source(str(tmp_path))
    source.close()
    source.close()
    assert source.read() is None


def test_real_photos_are_read_as_pillow_reads_them(shared_data):
    source = open_source(str(shared_data / "images_boxes"))
    read = 0
    while (frame := source.read()) is not None:
        expected = np.asarray(Image.open(io.BytesIO(Path(frame.name).read_bytes())).convert("RGB"))[..., ::-1]
        assert frame.image.shape == expected.shape
        assert np.abs(frame.image.astype(int) - expected).mean() < 1  # two JPEG decoders
        read += 1
    assert read == source.frame_count
    assert source.problems == []
