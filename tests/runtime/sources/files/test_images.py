"""A source of images reads them in order, and skips and reports broken ones."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from camrt.errors import SourceError
from camrt.runtime.sources import open_source
from support.overlays import gradient_image


def saved(path, image, **options):
    image.save(path, **options)
    return path


def test_a_file_name_may_have_any_script(tmp_path):
    path = saved(tmp_path / "снимок 猫 100%.png", Image.new("RGB", (2, 2)))
    assert open_source(str(path)).read().name == str(path)


@pytest.mark.parametrize(
    ("data", "message"), [(b"", "is empty"), (b"hello\n" * 20, "is a text file, neither an image nor a video")]
)
def test_a_single_image_that_cannot_be_read_is_an_error(tmp_path, data, message):
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(SourceError, match=message):
        open_source(str(tmp_path / "a.png"))


def test_broken_images_of_a_folder_are_skipped_and_reported(tmp_path):
    good = cv2.imencode(".png", gradient_image())[1].tobytes()
    for name, data in {
        "1.png": good,
        "2.png": good[: len(good) // 2],
        "3.png": b"",
        "4.jpg": b"text",
        "5.png": good,
    }.items():
        (tmp_path / name).write_bytes(data)
    source = open_source(str(tmp_path))
    frames = [source.read(), source.read()]
    assert source.read() is None
    assert [(frame.index, frame.file.name) for frame in frames] == [(0, "1.png"), (2, "5.png")]
    assert [problem.partition(" ")[0] for problem in source.problems] == [
        str(tmp_path / name) for name in ("3.png", "4.jpg", "2.png")
    ]


def test_a_folder_without_a_readable_image_is_an_error(tmp_path):
    data = cv2.imencode(".png", gradient_image())[1].tobytes()
    for name in ("1.png", "2.png"):
        (tmp_path / name).write_bytes(data[: len(data) // 2])
    source = open_source(str(tmp_path))
    with pytest.raises(SourceError, match="none of the 2 images"):
        source.read()
    assert len(source.problems) == 2
    for name in ("1.png", "2.png"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(SourceError, match=r"there is no image in folder .* \(2 entries\); .*1\.png is empty"):
        open_source(str(tmp_path))


def test_each_page_is_a_frame_and_what_was_assumed_is_told_once(tmp_path):
    pages = [Image.fromarray(np.full((4, 6), value, np.uint16)) for value in (1000, 4000, 2000)]
    for name in ("a.tif", "b.tif"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
    told = []
    source = open_source(str(tmp_path), tell=told.append)
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    assert [(frame.index, frame.file.name, frame.page) for frame in frames] == [
        *((page - 1, "a.tif", page) for page in (1, 2, 3)),
        *((page + 2, "b.tif", page) for page in (1, 2, 3)),
    ]
    assert frames[1].name == f"{tmp_path / 'a.tif'}, page 2"
    assert source.frame_count == 6
    assert told == [
        f"{tmp_path / 'a.tif'} and 1 more: read as 10 bits in 16",
        f"{tmp_path / 'a.tif'} and 3 more: read as 12 bits in 16",
    ]


def test_each_image_keeps_its_size(tmp_path):
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


def test_photos_are_read_as_pillow_reads_them(shared_data):
    source = open_source(str(shared_data / "images_boxes"))
    count = 0
    while (frame := source.read()) is not None:
        expected = np.asarray(Image.open(io.BytesIO(Path(frame.name).read_bytes())).convert("RGB"))[..., ::-1]
        assert frame.image.shape == expected.shape
        assert np.abs(frame.image.astype(int) - expected).mean() < 1  # two JPEG decoders
        count += 1
    assert count == source.frame_count
    assert source.problems == []
