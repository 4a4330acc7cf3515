"""Folders are listed by content, linked folders once, and what is left out is named."""

import os
from pathlib import Path

import cv2
import pytest
from PIL import Image

from camrt.errors import SourceError
from camrt.media_files import list_files, list_folder, media_kind, natural_order
from support.overlays import gradient_image

JPEG = cv2.imencode(".jpg", gradient_image())[1].tobytes()


def make(folder, *names, data=JPEG):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def listed(folder, **options):
    return [str(path.relative_to(folder)) for path in list_folder(folder, subfolders=True, **options).kinds]


def test_natural_order_sorts_numbers_by_value_and_ignores_case():
    names = ["img10.png", "IMG2.png", "img1.png", "10.png", "9.png", "a.png"]
    assert [path.name for path in sorted(map(Path, names), key=natural_order)] == [
        "9.png", "10.png", "a.png", "img1.png", "IMG2.png", "img10.png"
    ]  # fmt: skip


@pytest.mark.input_kind("folder", "images under any name: .jfif, .HEIC, no suffix", "-", "read by their content")
def test_the_content_decides(tmp_path):
    make(tmp_path, "a.jfif", "b.HEIC", "c", "d.txt", "e.mp4")
    assert listed(tmp_path) == ["a.jfif", "b.HEIC", "c", "d.txt", "e.mp4"]


@pytest.mark.input_kind("folder", "files that are no image or video", "-", "named with the reason")
def test_other_files_are_left_out_by_name_or_are_problems(tmp_path):
    make(tmp_path, "a.jpg")
    make(tmp_path, "1.txt", "2.txt", "3.csv", "4.json", "5", data=b"hello\n")
    make(tmp_path, "b.jpg", data=b"")
    make(tmp_path, "c.mp4", data=b"<html></html>")
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.jpg")
    found = list_folder(tmp_path)
    assert found.images == [tmp_path / "a.jpg"]
    assert found.lines() == [
        "left out: 1.txt, 2.txt, 3.csv and 2 more (a text file)",
        "left out: gone.jpg (links to a missing file)",
        "left out: pipe.jpg (no regular files)",
    ]
    assert found.problems == [
        f"{tmp_path}/b.jpg is empty (0 bytes), neither an image nor a video: copy or record it again",
        f"{tmp_path}/c.mp4 is a web page, as from a download that needs a login, neither an image nor a video: "
        "download the file itself",
    ]


@pytest.mark.input_kind("folder", "links to folders, also in a circle", "-", "each folder is read once")
def test_linked_folders_are_followed_once(tmp_path):
    make(tmp_path, "elsewhere/a.jpg", "elsewhere/deeper/c.jpg", "set/own/b.jpg")
    folder = tmp_path / "set"
    (folder / "a link").symlink_to("own")  # comes before the folder in order, and gives way to it
    (folder / "cats").symlink_to("../elsewhere")
    (folder / "dogs").symlink_to("../elsewhere/")
    (tmp_path / "elsewhere" / "loop").symlink_to("..")
    (folder / "own" / "up").symlink_to("..")
    assert listed(folder) == ["cats/a.jpg", "cats/deeper/c.jpg", "own/b.jpg"]
    left_out = list_folder(folder, subfolders=True).left_out
    assert ("dogs", "a link to the folder cats, which is read already") in left_out
    assert ("a link", "a link to the folder own, which is read already") in left_out
    assert len(left_out) == 5


def test_a_file_that_a_glob_reaches_twice_is_listed_once(tmp_path):
    make(tmp_path, "own/b.jpg")
    (tmp_path / "loop").symlink_to(".")
    paths = [tmp_path / "loop" / "loop" / "own" / "b.jpg", tmp_path / "own" / "b.jpg", tmp_path / "loop/own/b.jpg"]
    assert list_files(paths).images == [tmp_path / "own" / "b.jpg"]


def test_a_folder_inside_can_be_left_out(tmp_path):
    make(tmp_path, "a.jpg", "out/a.jpg", ".hidden/b.jpg", "deeper/c.jpg")
    assert listed(tmp_path, without=tmp_path / "out") == ["a.jpg", "deeper/c.jpg"]


def test_rare_formats_are_images_if_pillow_decodes_them(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.tga")
    make(tmp_path, "b.tga", data=(tmp_path / "a.tga").read_bytes()[:30])
    assert media_kind(tmp_path / "a.tga").kind == "image"
    assert media_kind(tmp_path / "b.tga").kind == "other"


def test_a_folder_that_is_missing_raises_source_error(tmp_path):
    with pytest.raises(SourceError, match=r"folder .*none cannot be listed: No such file"):
        list_folder(tmp_path / "none")
