"""Written images keep their names, never replace each other or the input, and are complete."""

import os
import resource
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from camrt.errors import SinkError, UsageError
from camrt.runtime.sinks import ImageSink
from support.needs import environment
from support.overlays import gradient_image, rendered


def listing(folder):
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize(
    ("file", "page", "output"),
    [
        ("in/cat.jpg", None, "cat.jpg"),
        ("in/CAT.JPEG", None, "CAT.JPEG"),
        ("in/cat.png", None, "cat.png"),
        ("in/cat.webp", None, "cat.webp"),
        ("in/cat.tif", None, "cat.tif"),
        ("in/cat.bmp", None, "cat.bmp"),
        ("in/cat.pgm", None, "cat.png"),
        ("in/cat.heic", None, "cat.png"),
        ("in/cat", None, "cat.png"),
        ("in/猫 %d.png", None, "猫 %d.png"),
        ("in/scan.tif", 2, "scan.page2.tif"),
    ],
)
def test_an_image_is_named_after_its_file(tmp_path, file, page, output):
    sink = ImageSink(tmp_path / "out")
    sink.write(rendered(7, file=Path(file), page=page, image=gradient_image()))
    sink.close()
    assert_single(tmp_path / "out", output)


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("clips/day 1.mp4", "day_1_000007.jpg"),
        ("camera 0", "camera_0_000007.jpg"),
        ("rtsp://cam:554/#1f2e", "cam_554_1f2e_000007.jpg"),
    ],
)
def test_a_frame_is_named_after_its_source_and_number(tmp_path, name, output):
    sink = ImageSink(tmp_path / "out")
    sink.write(rendered(7, name=name, image=gradient_image()))
    sink.close()
    assert_single(tmp_path / "out", output)


def assert_single(folder, output):
    assert listing(folder) == [output]
    data = np.fromfile(folder / output, np.uint8)
    assert np.abs(cv2.imdecode(data, cv2.IMREAD_COLOR).astype(int) - gradient_image()).mean() < 4


@pytest.mark.parametrize("name", ["n" * 251 + ".jpg", "猫" * 83 + ".heic"])
def test_a_name_of_the_greatest_length_is_written(tmp_path, name):
    sink = ImageSink(tmp_path)
    for index in range(2):
        sink.write(rendered(index, file=Path(f"{index}") / name, page=index or None, image=gradient_image()))
    ImageSink(tmp_path, live=True).write(rendered(name="camera" * 60))
    written = listing(tmp_path)
    assert len(written) == 3
    assert max(len(os.fsencode(entry)) for entry in written) <= 255


def test_a_frame_without_a_signal_is_not_written(tmp_path):
    sink = ImageSink(tmp_path / "out")
    overlay = rendered(7, name="camera 0", image=gradient_image())
    frame = replace(overlay.frame, lost="unplugged; trying again in 4 s")
    sink.write(replace(overlay, item=replace(overlay.item, frame=frame)))
    sink.close()
    assert listing(tmp_path) == []


def test_images_of_the_same_name_are_numbered(tmp_path):
    sink = ImageSink(tmp_path)
    for index, name in enumerate(["x/a.png", "y/a.png", "a.jpg", "z/a.png", "z/a-2.png"]):
        sink.write(rendered(index, file=Path(name), image=gradient_image(shade=index)))
    assert listing(tmp_path) == ["a-2-2.png", "a-2.png", "a-3.png", "a.jpg", "a.png"]
    assert [cv2.imread(str(tmp_path / f"{stem}.png"))[0, 0, 1] for stem in ("a", "a-2", "a-3", "a-2-2")] == [0, 1, 3, 4]


def test_frames_of_a_live_source_are_numbered_whatever_its_name(tmp_path):
    sink = ImageSink(tmp_path, live=True)
    for index in range(3):
        sink.write(rendered(index, name="http://192.168.1.20/#1f2e"))
    assert listing(tmp_path) == [f"192_168_1_20_1f2e_00000{index}.jpg" for index in range(3)]


def test_a_resumed_run_continues_the_numbers(tmp_path):
    for name in ("camera_0_000007.jpg", "camera_0_1000005.jpg", "camera_1_2000000.jpg", "camera_0_9999999.png"):
        (tmp_path / name).write_bytes(b"precious")
    sink = ImageSink(tmp_path, live=True, resume=True)
    for index in (2, 5):
        sink.write(rendered(index, name="camera 0"))
    assert [name for name in listing(tmp_path) if (tmp_path / name).read_bytes() != b"precious"] == [
        "camera_0_1000008.jpg",
        "camera_0_1000011.jpg",
    ]


def test_a_resumed_run_with_overwrite_starts_at_zero(tmp_path):
    (tmp_path / "camera_0_000000.jpg").write_bytes(b"old")
    ImageSink(tmp_path, live=True, resume=True, overwrite=True).write(rendered(name="camera 0"))
    assert listing(tmp_path) == ["camera_0_000000.jpg"]
    assert cv2.imread(str(tmp_path / "camera_0_000000.jpg")).shape == gradient_image().shape


def test_a_folder_that_vanishes_is_an_error_that_names_it(tmp_path):
    sink = ImageSink(tmp_path / "out", live=True, resume=True)
    (tmp_path / "out").rmdir()
    with pytest.raises(SinkError, match="out cannot be written: No such file"):
        sink.write(rendered())
    sink.close()


@pytest.mark.parametrize("name", ["camera 0", "http://192.168.1.20/#1f2e"])
def test_memory_does_not_grow_with_the_frames_of_a_live_source(tmp_path, name):
    sink = ImageSink(tmp_path, live=True, overwrite=True)
    image = np.zeros((1, 1, 3), np.uint8)
    sizes = []
    tracemalloc.start()
    for index in range(1201):
        sink.write(rendered(index, name=name, image=image))
        if index % 300 == 0:
            sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    # Python's own tables grow now and then. A remembered frame, about 450 bytes, would add up in every interval.
    assert min(later - earlier for earlier, later in pairwise(sizes)) < 30_000


def test_an_existing_image_is_replaced_only_with_overwrite(tmp_path):
    (tmp_path / "a.png").write_bytes(b"precious")
    with pytest.raises(UsageError, match=r"exists; .*--overwrite"):
        ImageSink(tmp_path).write(rendered(file=Path("in/a.png")))
    assert (tmp_path / "a.png").read_bytes() == b"precious"
    ImageSink(tmp_path, overwrite=True).write(rendered(file=Path("in/a.png")))
    assert cv2.imread(str(tmp_path / "a.png")).shape == gradient_image().shape


def test_the_input_itself_is_never_replaced(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), gradient_image())
    with pytest.raises(SinkError, match="is the input itself"):
        ImageSink(tmp_path, overwrite=True).write(rendered(file=tmp_path / "a.png", image=gradient_image(shade=99)))
    assert np.array_equal(cv2.imread(str(tmp_path / "a.png")), gradient_image())


def test_a_folder_that_cannot_be_created_is_an_error_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match="is a file; images need a folder"):
        ImageSink(tmp_path / "file")
    with pytest.raises(SinkError, match="cannot be created: Not a directory"):
        ImageSink(tmp_path / "file" / "out")


def test_close_removes_an_empty_folder_that_the_sink_created(tmp_path):
    ImageSink(tmp_path / "out").close()
    assert listing(tmp_path) == []
    (tmp_path / "mine").mkdir()
    ImageSink(tmp_path / "mine").close()
    assert listing(tmp_path) == ["mine"]


@pytest.mark.process
def test_a_full_disk_is_an_error_and_leaves_no_partial_image(tmp_path):
    script = """
from pathlib import Path
import numpy as np
from camrt.errors import SinkError
from camrt.runtime.sinks import ImageSink
from support.overlays import rendered
try:
    image = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    ImageSink(Path("."), overwrite=True).write(rendered(file=Path("in/a.png"), image=image))
except SinkError as error:
    print(error)
"""
    (tmp_path / "a.png").write_bytes(b"precious")
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == (f"a.png cannot be written: {os.strerror(27)}\n", "")
    assert listing(tmp_path) == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"precious"
