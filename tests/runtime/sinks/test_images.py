"""Pictures keep their names, never replace each other or the input, and appear whole."""

import os
import resource
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest

from camrt.errors import SinkError, UsageError
from camrt.runtime.sinks import ImageSink, VideoSink, open_output
from camrt.runtime.sources.synthetic import Scene, SyntheticSource
from support.needs import environment
from support.overlays import picture, rendered


def listing(folder):
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("in/cat.jpg", "cat.jpg"),
        ("in/CAT.JPEG", "CAT.JPEG"),
        ("in/cat.png", "cat.png"),
        ("in/cat.webp", "cat.webp"),
        ("in/cat.tif", "cat.tif"),
        ("in/cat.bmp", "cat.bmp"),
        ("in/cat.pgm", "cat.png"),
        ("in/猫 %d.png", "猫 %d.png"),
        ("clips/day 1.mp4", "day_1_000007.jpg"),
        ("camera 0", "camera_0_000007.jpg"),
        ("rtsp://cam:554/live?token=***", "live_token__000007.jpg"),
    ],
)
def test_a_picture_is_named_after_its_frame(tmp_path, name, written):
    sink = ImageSink(tmp_path / "out")
    sink.write(rendered(7, name=name, image=picture()))
    sink.close()
    assert listing(tmp_path / "out") == [written]
    data = np.fromfile(tmp_path / "out" / written, np.uint8)
    assert np.abs(cv2.imdecode(data, cv2.IMREAD_COLOR).astype(int) - picture()).mean() < 4


def test_what_is_shown_without_a_signal_is_no_picture_to_keep(tmp_path):
    sink = ImageSink(tmp_path / "out")
    shown = rendered(7, name="camera 0", image=picture())
    lost = replace(shown.frame, lost="unplugged; trying again in 4 s")
    sink.write(replace(shown, item=replace(shown.item, frame=lost)))
    sink.close()
    assert listing(tmp_path) == []


def test_pictures_of_the_same_name_stand_beside_each_other(tmp_path):
    sink = ImageSink(tmp_path)
    for index, name in enumerate(["x/a.png", "y/a.png", "a.jpg", "z/a.png", "z/a-2.png"]):
        sink.write(rendered(index, name=name, image=picture(shade=index)))
    assert listing(tmp_path) == ["a-2-2.png", "a-2.png", "a-3.png", "a.jpg", "a.png"]
    assert [cv2.imread(str(tmp_path / f"{stem}.png"))[0, 0, 1] for stem in ("a", "a-2", "a-3", "a-2-2")] == [0, 1, 3, 4]


def test_a_live_source_whose_name_is_a_pictures_has_its_frames_numbered(tmp_path):
    sink = ImageSink(tmp_path, live=True)
    for index in range(3):
        sink.write(rendered(index, name="http://192.168.1.20/live.png"))
    assert listing(tmp_path) == [f"live_00000{index}.jpg" for index in range(3)]


def test_a_run_that_resumes_is_numbered_behind_the_highest(tmp_path):
    for name in ("camera_0_000007.jpg", "camera_0_1000005.jpg", "camera_1_2000000.jpg", "camera_0_9999999.png"):
        (tmp_path / name).write_bytes(b"precious")
    sink = ImageSink(tmp_path, live=True, resume=True)
    for index in (2, 5):
        sink.write(rendered(index, name="camera 0"))
    assert [name for name in listing(tmp_path) if (tmp_path / name).read_bytes() != b"precious"] == [
        "camera_0_1000008.jpg",
        "camera_0_1000011.jpg",
    ]


def test_a_run_that_resumes_and_may_overwrite_begins_anew(tmp_path):
    (tmp_path / "camera_0_000000.jpg").write_bytes(b"old")
    ImageSink(tmp_path, live=True, resume=True, overwrite=True).write(rendered(name="camera 0"))
    assert listing(tmp_path) == ["camera_0_000000.jpg"]
    assert cv2.imread(str(tmp_path / "camera_0_000000.jpg")).shape == picture().shape


def test_a_folder_that_vanishes_is_an_error_that_names_it(tmp_path):
    sink = ImageSink(tmp_path / "out", live=True, resume=True)
    (tmp_path / "out").rmdir()
    with pytest.raises(SinkError, match="out cannot be written: No such file"):
        sink.write(rendered())
    sink.close()


@pytest.mark.parametrize("name", ["camera 0", "http://192.168.1.20/live.jpg"])
def test_nothing_is_remembered_of_a_live_sources_frames(tmp_path, name):
    sink = ImageSink(tmp_path, live=True, overwrite=True)
    image = np.zeros((1, 1, 3), np.uint8)
    held = []
    tracemalloc.start()
    for index in range(1201):
        sink.write(rendered(index, name=name, image=image))
        if index % 300 == 0:
            held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    # Python's own tables grow now and then; what is remembered of a frame, some 450 bytes, would grow always.
    assert min(later - earlier for earlier, later in pairwise(held)) < 30_000


def test_an_old_picture_is_replaced_only_when_allowed(tmp_path):
    (tmp_path / "a.png").write_bytes(b"precious")
    with pytest.raises(UsageError, match=r"exists; .*--overwrite"):
        ImageSink(tmp_path).write(rendered(name="in/a.png"))
    assert (tmp_path / "a.png").read_bytes() == b"precious"
    ImageSink(tmp_path, overwrite=True).write(rendered(name="in/a.png"))
    assert cv2.imread(str(tmp_path / "a.png")).shape == picture().shape


def test_the_input_itself_is_never_replaced(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), picture())
    with pytest.raises(SinkError, match="is the input itself"):
        ImageSink(tmp_path, overwrite=True).write(rendered(name=str(tmp_path / "a.png"), image=picture(shade=99)))
    assert np.array_equal(cv2.imread(str(tmp_path / "a.png")), picture())


def test_a_folder_that_cannot_be_made_is_told_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match="is a file; the pictures need a folder"):
        ImageSink(tmp_path / "file")
    with pytest.raises(SinkError, match="cannot be made: Not a directory"):
        ImageSink(tmp_path / "file" / "out")


def test_a_folder_that_was_made_for_nothing_is_taken_back(tmp_path):
    ImageSink(tmp_path / "out").close()
    assert listing(tmp_path) == []
    (tmp_path / "mine").mkdir()
    ImageSink(tmp_path / "mine").close()
    assert listing(tmp_path) == ["mine"]


@pytest.mark.process
def test_a_full_disk_leaves_an_error_and_no_half_picture(tmp_path):
    script = """
from pathlib import Path
import numpy as np
from camrt.errors import SinkError
from camrt.runtime.sinks import ImageSink
from support.overlays import rendered
try:
    image = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    ImageSink(Path("."), overwrite=True).write(rendered(name="in/a.png", image=image))
except SinkError as error:
    print(error)
"""
    (tmp_path / "a.png").write_bytes(b"precious")
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.stdout, run.stderr) == (f"a.png cannot be written: {os.strerror(27)}\n", "")
    assert listing(tmp_path) == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"precious"


def test_an_output_is_a_video_by_its_suffix_or_a_folder_of_pictures(tmp_path):
    (tmp_path / "folder.mp4").mkdir()
    kinds = {"a.mp4": VideoSink, "a.AVI": VideoSink, "out": ImageSink, "folder.mp4": ImageSink}
    source = SyntheticSource(Scene(0), live=False)
    how = {"rotation": None, "overwrite": False, "tell": lambda _: None}
    for name, kind in kinds.items():
        sink = open_output(tmp_path / name, source, **how)
        assert isinstance(sink, kind)
        sink.close()
    with pytest.raises(UsageError, match=r"a video ends in \.mp4 .*; for pictures name a folder"):
        open_output(tmp_path / "a.png", source, **how)
