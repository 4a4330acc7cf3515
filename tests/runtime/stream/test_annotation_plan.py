"""Each input gets an output of its own, before anything is written."""

from pathlib import Path

import cv2
import pytest
from PIL import Image

from camrt.errors import MissingInput, SourceError, UsageError
from camrt.runtime.stream.annotation_plan import plan
from support.overlays import gradient_image

JPEG = cv2.imencode(".jpg", gradient_image())[1].tobytes()


@pytest.fixture(autouse=True)
def _inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def make(*names, data=JPEG):
    for name in map(Path, names):
        name.parent.mkdir(parents=True, exist_ok=True)
        name.write_bytes(data)


def gif():
    frames = [Image.new("P", (16, 12), number) for number in range(2)]
    frames[0].save("in/clip.gif", save_all=True, append_images=frames[1:])
    return Path("in/clip.gif").read_bytes()


def targets(*inputs, output="out", **options):
    made = plan([Path(name) for name in inputs], Path(output), **options)
    return {str(job.source): str(job.target) for job in made.jobs}


@pytest.mark.input_kind(
    "folder", "clip.mp4 beside clip.gif, a.png beside a.avif", "-", "both are written, one numbered"
)
def test_inputs_of_the_same_stem_get_outputs_of_their_own():
    make("in/a.ppm", "in/a.png", "in/a.avif", "in/a-2.png")
    make("in/clip.mp4", "in/clip.mkv", data=gif())
    assert targets("in") == {
        "in/a.png": "out/a.png",
        "in/a-2.png": "out/a-2.png",
        "in/a.avif": "out/a-3.png",
        "in/a.ppm": "out/a-4.png",
        "in/clip.gif": "out/clip-2.mp4",
        "in/clip.mkv": "out/clip.mkv",
        "in/clip.mp4": "out/clip.mp4",
    }


def test_inputs_of_the_same_name_get_outputs_of_their_own():
    make("a.jpg", "sub/a.jpg")
    assert targets("a.jpg", "sub/a.jpg") == {"a.jpg": "out/a.jpg", "sub/a.jpg": "out/a-2.jpg"}


def test_the_content_decides_the_suffix_of_the_output():
    make("in/a.HEIC", "in/b", "in/c.2024-05", "in/d.mp4")
    assert targets("in") == {
        "in/a.HEIC": "out/a.png",
        "in/b": "out/b.png",
        "in/c.2024-05": "out/c.2024-05.png",
        "in/d.mp4": "out/d.png",
    }
    assert targets("in/b", output="b.jpg") == {"in/b": "b.jpg"}


@pytest.mark.input_kind("folder", "names of 255 bytes", "-", "written under a shortened name")
def test_a_long_name_is_shortened_where_its_suffix_grows():
    make(f"in/{'n' * 252}.ts", data=b"GIF89a" + bytes(99))
    make(f"in/{'猫' * 84}.p", f"in/{'猫' * 83}é.jp")
    for target in targets("in").values():
        assert len(Path(target).name.encode()) <= 255
        assert target.endswith((".mp4", ".png"))


def test_existing_outputs_are_refused_kept_or_replaced():
    make("a.jpg", "out/a.jpg")
    with pytest.raises(
        UsageError, match=r"out/a\.jpg exist already; --overwrite replaces, --resume keeps what is whole"
    ):
        targets("a.jpg")
    assert targets("a.jpg", overwrite=True) == targets("a.jpg", resume=True) == {"a.jpg": "out/a.jpg"}


def test_files_that_are_left_out_are_counted_and_named():
    make("in/a.jpg")
    make("in/b.txt", "in/c.txt", data=b"text")
    make("in/d.jpg", data=b"")
    made = plan([Path("in")], Path("out"))
    assert (len(made.jobs), made.left_out_count) == (1, 2)
    assert made.left_out == ["in: left out: b.txt, c.txt (a text file)"]
    assert made.problems == ["in/d.jpg is empty (0 bytes), neither an image nor a video: copy or record it again"]


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("none", MissingInput, "there is no none"),
        ("empty", SourceError, r"folder empty has no image and no video$"),
        ("texts", SourceError, r"folder texts has no image and no video; left out: a\.txt \(a text file\)"),
        ("texts/a.txt", UsageError, r"a\.txt is a text file, neither an image nor a video"),
        ("page.jpg", SourceError, r"page\.jpg is a web page, .*: download the file itself"),
    ],
)
def test_inputs_without_an_image_are_refused(name, error, message):
    Path("empty").mkdir()
    make("texts/a.txt", data=b"text")
    make("page.jpg", data=b"<html></html>")
    with pytest.raises(error, match=message):
        targets(name)
