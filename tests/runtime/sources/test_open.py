"""Each source text opens the right source, or raises an error that says what to do."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from camrt.errors import MissingExtra, SourceError, UsageError
from camrt.runtime.sources import open_source
from support.needs import environment
from support.overlays import gradient_image


@pytest.fixture
def folder(tmp_path):
    """``img1.png img2.png img10.PNG``, a hidden file, a note, and ``deeper/img3.png``."""
    (tmp_path / "deeper").mkdir()
    for name in ("img10.PNG", "img2.png", "img1.png", ".hidden.png", "deeper/img3.png"):
        (tmp_path / name).write_bytes(cv2.imencode(".png", gradient_image())[1].tobytes())
    (tmp_path / "note.txt").write_text("not an image")
    return tmp_path


def names(source):
    frames = list(iter(source.read, None))
    source.close()
    return [frame.file.name for frame in frames]


def test_a_folder_is_read_in_natural_order(folder):
    source = open_source(str(folder))
    assert (source.frame_count, source.fps, source.live) == (3, None, False)
    assert names(source) == ["img1.png", "img2.png", "img10.PNG"]
    assert source.problems == []


def test_a_glob_reads_the_files_it_matches(folder):
    assert names(open_source(f"{folder}/img?.png")) == ["img1.png", "img2.png"]
    assert names(open_source(f"{folder}/**/*.png")) == ["img3.png", "img1.png", "img2.png"]


def test_an_existing_file_is_no_glob(folder):
    (folder / "img1.png").rename(folder / "img[1].png")
    assert names(open_source(f"{folder}/img[1].png")) == ["img[1].png"]


def test_a_video_among_images_is_reported_as_skipped(folder, shared_data):
    shutil.copy(shared_data / "videos" / "cockatoo.mp4", folder)
    for text in (str(folder), f"{folder}/*"):
        told = []
        source = open_source(text, tell=told.append)
        assert (source.frame_count, source.problems) == (3, [])
        assert f"{text}: left out: cockatoo.mp4 (a video or an animation)" in told
        assert f"{text}: left out: note.txt (a text file)" in told or text.endswith("*")


def test_a_glob_of_one_video_opens_that_video(shared_data):
    source = open_source(f"{shared_data}/videos/cock*.mp4")
    assert source.frame_count == 280
    source.close()
    with pytest.raises(UsageError, match="matches 3 videos"):
        open_source(f"{shared_data}/videos/*.mp4")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", UsageError, "is empty"),
        ("nowhere/cat.jpg", SourceError, r"no nowhere/cat\.jpg \(looked for /.*/nowhere/cat\.jpg\)"),
        ("nowhere/*.jpg", SourceError, r"matches no files"),
        ("ftp://host/cat.mp4", UsageError, r"ftp:// addresses cannot be read; use one of rtsp"),
        ("ftp://me:secret@host/cat.mp4", UsageError, r"^ftp://host/#[0-9a-f]{4}: "),
        ("99", SourceError, r"no camera 99 \(/dev/video99\); this machine has: "),
        ("/dev/video99", SourceError, r"no camera /dev/video99"),
        ("/dev/null", SourceError, r"camera /dev/null cannot be opened"),
        ("note.txt", UsageError, r"note\.txt is a text file, neither an image nor a video"),
        ("note", UsageError, r"note is a text file, neither an image nor a video"),
        (
            "page.jpg",
            SourceError,
            r"page\.jpg is a web page, .*, neither an image nor a video: download the file itself",
        ),
        ("empty", SourceError, r"no image in folder empty \(0 entries\)"),
        ("nested", SourceError, r"nested/\*\*/\*\.jpg"),
        ("pipe.mp4", SourceError, r"neither a file nor a folder"),
    ],
)
def test_a_text_that_is_no_source_raises_an_error_that_says_what_to_do(text, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for note in ("note", "note.txt"):
        Path(note).write_text("hello")
    Path("page.jpg").write_text("<html><title>Log in</title></html>")
    Path("empty").mkdir()
    Path("nested/deeper").mkdir(parents=True)
    os.mkfifo("pipe.mp4")
    with pytest.raises(error, match=message):
        open_source(text)


def test_a_folder_of_videos_is_an_error_that_names_the_remedy(shared_data):
    with pytest.raises(SourceError, match="3 videos, which are sources of their own"):
        open_source(str(shared_data / "videos"))


def test_the_synthetic_scene_is_a_source():
    source = open_source("synthetic")
    frame = source.read()
    assert frame.image.ndim == 3
    source.close()


@pytest.mark.process
def test_decoders_print_nothing(tmp_path, shared_data):
    video = (shared_data / "videos" / "oc_dog.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(video[: len(video) // 8])
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "cut.jpg").write_bytes(cv2.imencode(".jpg", gradient_image())[1].tobytes()[:-100])
    script = """
import sys
from camrt.errors import SourceError
from camrt.runtime.sources import open_source
for text in ("99", "/dev/null", "text.mp4", "cut.jpg", "cut.mp4"):
    try:
        source = open_source(text)
        while source.read() is not None: pass
    except SourceError as error:
        print(error)
print(source.problems)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert re.search(r"stops after frame \d+ of 336", done.stdout)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 5


GSTREAMER = "gst:videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=30/1 ! videoconvert ! appsink"


def test_a_gstreamer_pipeline_needs_an_opencv_with_gstreamer():
    if "GStreamer:                   YES" not in cv2.getBuildInformation():
        with pytest.raises(MissingExtra, match=r"has no GStreamer; no wheel on PyPI has it\. .* python3-opencv"):
            open_source(GSTREAMER, patient=True)
        return
    source = open_source(GSTREAMER)
    assert (source.name, source.live, source.read().image.shape) == ("gst:videotestsrc", True, (240, 320, 3))
    source.close()


@pytest.mark.parametrize("text", ["gst:", "gst: ", "gst:videotestsrc", "gst:appsink ! videotestsrc"])
def test_a_gstreamer_pipeline_must_end_in_appsink(text):
    with pytest.raises(UsageError, match="must end in appsink"):
        open_source(text)


@pytest.mark.skipif(importlib.util.find_spec("picamera2") is not None, reason="picamera2 is installed")
def test_a_raspberry_pi_camera_needs_picamera2():
    with pytest.raises(MissingExtra, match="sudo apt install python3-picamera2"):
        open_source("picamera2", patient=True)
