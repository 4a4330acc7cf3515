"""Image files become uint8 (H, W, 3) BGR, and all readers list the images of a folder in the same order."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from camrt.errors import SourceError, UsageError
from camrt.export.graph.synthetic_images import read_images
from camrt.export.quantize.calibration import read_calibration
from camrt.images import find_images, list_images, read_image
from camrt.model_file import InputGeometry
from camrt.runtime.sources import open_source
from support.overlays import gradient_image


def save(path, image, **options):
    image.save(path, **options)
    return path


def test_a_colour_image_is_read_as_blue_green_red(tmp_path):
    image = read_image(save(tmp_path / "a.png", Image.new("RGB", (5, 4), (10, 20, 30))))
    assert (image.shape, image.dtype) == ((4, 5, 3), np.uint8)
    assert image[0, 0].tolist() == [30, 20, 10]


def test_a_grey_image_becomes_colour(tmp_path):
    assert read_image(save(tmp_path / "a.jpg", Image.new("L", (5, 4), 77))).tolist() == np.full((4, 5, 3), 77).tolist()


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3)])
def test_sixteen_bits_become_their_upper_eight(tmp_path, suffix, shape):
    path = tmp_path / f"a{suffix}"
    assert cv2.imwrite(str(path), np.full(shape, 40000, np.uint16))
    assert read_image(path).tolist() == np.full((4, 5, 3), 40000 >> 8).tolist()


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_alpha_is_dropped_as_in_pillow(tmp_path, suffix):
    source = Image.new("RGBA", (5, 4), (10, 20, 30, 0))
    path = save(tmp_path / f"a{suffix}", source, **({"lossless": True, "exact": True} if suffix == ".webp" else {}))
    assert read_image(path)[..., ::-1].tolist() == np.asarray(source.convert("RGB")).tolist()


def test_a_palette_becomes_colour(tmp_path):
    source = Image.new("P", (5, 4), 1)
    source.putpalette([0, 0, 0, 10, 20, 30])
    assert read_image(save(tmp_path / "a.png", source))[3, 4].tolist() == [30, 20, 10]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    upright = Image.fromarray(gradient_image(16, 32)[..., ::-1])
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.jpg", upright, exif=exif, quality=100, subsampling=0)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))[..., ::-1]
    np.testing.assert_allclose(read_image(path).astype(int), expected.astype(int), atol=3)


def test_a_single_pixel_is_an_image(tmp_path):
    assert read_image(save(tmp_path / "a.png", Image.new("RGB", (1, 1), (1, 2, 3)))).tolist() == [[[3, 2, 1]]]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tiff"])
@pytest.mark.parametrize("fraction", [0.02, 0.5, 0.99])
def test_a_truncated_image_raises_source_error(tmp_path, suffix, fraction):
    data = cv2.imencode(suffix, np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8))[1].tobytes()
    path = tmp_path / f"a{suffix}"
    path.write_bytes(data[: int(len(data) * fraction)])
    with pytest.raises(SourceError, match=r"a\.\w+ cannot be decoded \(\d+ bytes\)"):
        read_image(path)


def test_a_missing_file_raises_source_error(tmp_path):
    with pytest.raises(SourceError, match=r"none\.png cannot be read: No such file"):
        read_image(tmp_path / "none.png")


SUFFIXES = (".jpg", ".JPEG", ".png", ".bmp", ".webp", ".tif", ".heic", "")


@pytest.fixture
def mixed(tmp_path):
    """Return a folder with one image under each suffix, and entries that are not images."""
    data = cv2.imencode(".png", gradient_image())[1].tobytes()  # the content decides
    for number, suffix in enumerate(SUFFIXES, start=1):
        (tmp_path / f"img{number}{suffix}").write_bytes(data)
    (tmp_path / ".hidden.png").write_bytes(data)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "page.jpg").write_text("<!DOCTYPE html><title>Log in</title>")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "folder.png" / "deeper.png").write_bytes(data)
    return tmp_path


def test_a_folder_lists_its_images_by_content_in_natural_order(mixed, caplog):
    images = list_images(mixed)
    assert [path.name for path in images] == [f"img{number}{suffix}" for number, suffix in enumerate(SUFFIXES, 1)]
    assert find_images([mixed / "notes.txt", mixed]) == [mixed / "notes.txt", *images]
    told = "\n".join(caplog.messages)
    assert "page.jpg is a web page" in told
    assert "left out: notes.txt (a text file)" in told


def test_calibrate_and_source_read_the_images_of_a_folder_in_the_same_order(mixed):
    source = open_source(str(mixed))
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame.file.name)
    calibration = read_calibration(mixed, InputGeometry(width=8, height=8), divide=False)
    assert len(frames) == len(SUFFIXES)
    assert list(calibration.names) == frames


def test_a_folder_without_images_raises_usage_error(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(UsageError, match="no images in"):
        find_images([tmp_path])


def test_a_folder_that_cannot_be_listed_raises_source_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match="file cannot be listed: Not a directory"):
        list_images(tmp_path / "file")


def test_every_page_calibrates(tmp_path):
    pages = [Image.new("L", (8, 8), shade) for shade in (10, 200)]
    pages[0].save(tmp_path / "scan.tif", save_all=True, append_images=pages[1:])
    calibration = read_calibration(tmp_path, InputGeometry(width=8, height=8), divide=False)
    assert calibration.names == ("scan.tif, page 1", "scan.tif, page 2")
    assert calibration.evaluation[:, 0, 0, 0].tolist() == [10, 200]
    assert read_images(tmp_path, 8, 8)[:, 0, 0, 0].tolist() == [10, 200]
