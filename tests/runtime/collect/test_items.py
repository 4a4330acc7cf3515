"""Items: the images that inputs name, their classes by name and never by number, and all that is left out."""

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from camrt.errors import MissingInput, UsageError
from camrt.runtime.collect.inputs import open_inputs
from camrt.runtime.collect.items import Items
from support.labelled_data import BOXES, WRITERS, write_mask, write_picture
from support.tiny_models import LABELS

BOX = BOXES["boat"]


def items_of(*inputs, every=1, labels=LABELS, classes=None):
    return Items(open_inputs(inputs, classes), labels, "model.onnx", every=every)


def rows(items, root=None):
    """Return (path, label, group, classes) of each item."""
    listed = list(items)
    assert items.expected == len(listed)
    return [
        (os.path.relpath(item.path, root) if root else item.path, item.label, item.group, item.classes)
        for item in listed
    ]


@pytest.mark.input_kind("folder", "folder per class below splits", "labels of the model", "class and group of images")
def test_folders_are_classes_and_groups(tmp_path):
    for name in (
        "train/boat/a.png",
        "train/boat/night/b.png",
        "val/Cup/c.png",
        "val/house/d.png",
        "e.png",
        "203/f.png",
    ):
        write_picture(tmp_path / name, BOX)
    write_picture(tmp_path / "203" / "f.png", BOX)
    items = items_of(tmp_path)
    assert rows(items, tmp_path) == [
        ("203/f.png", None, "203", ()),
        ("e.png", None, None, ()),
        ("train/boat/a.png", "boat", "train", ((1,),)),
        ("train/boat/night/b.png", "boat", "train/night", ((1,),)),
        ("val/Cup/c.png", "Cup", "val", ((2,),)),
        ("val/house/d.png", None, "val/house", ()),
    ]
    (remark,) = items.remarks
    assert "no class for the folders" in remark
    assert "'house'" in remark
    assert "'203'" in remark
    assert items.classes == {"boat": [1], "Cup": [2]}


def test_single_files_are_classed_by_their_folders_and_say_nothing_of_other_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["train/boat/a.png", "train/boat/b.png", "cup/c.png"]
    for name in names:
        write_picture(tmp_path / name, BOX)
    items = items_of(*names)
    assert rows(items) == [
        ("train/boat/a.png", "boat", "train", ((1,),)),
        ("train/boat/b.png", "boat", "train", ((1,),)),
        ("cup/c.png", "cup", None, ((2,),)),
    ]
    assert items.remarks == []
    alone = items_of(write_picture(tmp_path / "photos" / "d.png", BOX))
    assert rows(alone, tmp_path) == [("photos/d.png", None, "photos", ())]
    assert alone.remarks == []


def test_a_number_as_a_folder_is_no_class(tmp_path):
    for number in range(len(LABELS)):
        write_picture(tmp_path / str(number) / "a.png", BOX)
    items = items_of(tmp_path)
    assert {label for _, label, _, _ in rows(items)} == {None}
    assert "no folder is named after a class of the model" in items.remarks[0]


def test_wordnet_ids_match_by_a_table(tmp_path):
    write_picture(tmp_path / "data" / "n02981792" / "a.png", BOX)
    table = tmp_path / "table.csv"
    table.write_text("n02981792 boat, ship\n")
    assert rows(items_of(tmp_path / "data", labels=("cup", "boat, ship"), classes=table))[0][1:] == (
        *("n02981792", None, ((1,),)),
    )
    shutil.copy(table, tmp_path / "data" / "synset_words.txt")
    assert rows(items_of(tmp_path / "data", labels=("cup", "boat, ship")))[0][3] == ((1,),)


@pytest.mark.input_kind("folder", "text list of paths", "the listed files", "every line a row, in order")
def test_a_list_has_paths_from_its_folder_or_the_current_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("lists/boat/a.png", "here/cup/b.png", "elsewhere/duck/c.png"):
        write_picture(tmp_path / name, BOX)
    shutil.copy(tmp_path / "here/cup/b.png", tmp_path / "lists" / "\udcff.png")  # a name that is no UTF-8
    whole = tmp_path / "elsewhere/duck/c.png"
    lines = [b"boat/a.png", b"", b"here/cup/b.png", os.fsencode(whole), b"missing/d.png", b"\xff.png", b" lists"]
    listed = tmp_path / "lists" / "list.txt"
    listed.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(lines))
    items = items_of(listed)
    assert [label for _, label, _, _ in rows(items)] == ["boat", "cup", "duck", None, None, None]
    found = list(items)
    assert [item.path for item in found][1:4] == ["here/cup/b.png", str(whole), "missing/d.png"]
    assert [bool(item.problem) for item in found] == [False, False, False, True, False, True]
    assert "missing/d.png cannot be read: No such file" in found[3].problem


def test_a_list_of_bytes_with_zeros_says_so(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"a.png\0b.png\0")
    (item,) = items_of(tmp_path / "list.txt")
    assert "line 1: it has a zero byte; write one path a line" in item.problem


@pytest.mark.input_kind("folder", "glob over folders", "the matching files", "every match a row, in natural order")
def test_a_glob_takes_images_and_frames_of_videos(tmp_path, shared_data):
    for name in ("boat/10.png", "boat/9.png", "cup/a.png", "cup/notes.txt"):
        write_picture(tmp_path / "data" / name.replace("txt", "png"), BOX)
    (tmp_path / "data" / "cup" / "notes.png").rename(tmp_path / "data" / "cup" / "notes.txt")
    (tmp_path / "data" / "cup" / "notes.txt").write_text("text")
    shutil.copy(shared_data / "videos" / "cockatoo.mp4", tmp_path / "data" / "boat" / "clip.mp4")
    items = items_of(f"{tmp_path}/data/**", every=100)
    assert rows(items, tmp_path / "data") == [
        ("boat/9.png", "boat", None, ((1,),)),
        ("boat/10.png", "boat", None, ((1,),)),
        *((f"boat/clip.mp4#frame={number}", "boat", None, ((1,),)) for number in (0, 100, 200)),
        ("cup/a.png", "cup", None, ((2,),)),
    ]
    assert items.left_out.lines("left out") == ["left out: notes.txt (a text file)"]


@pytest.mark.input_kind("video", "every N-th frame into the map store", "PyAV or OpenCV", "the same pixels")
def test_every_nth_frame_of_a_video_is_an_item(shared_data, decoder):
    from camrt.video_decoding.file import VideoFile

    video = shared_data / "videos" / "cockatoo.mp4"
    items = list(items_of(video, every=90))
    assert [item.path for item in items] == [f"{video}#frame={number}" for number in (0, 90, 180, 270)]
    reference = VideoFile(video)
    frames = [frame.copy() for _ in range(91) if (frame := reference.read()) is not None]
    reference.close()
    assert np.array_equal(items[0].frame, frames[0])
    assert np.array_equal(items[1].frame, frames[90])


def test_a_folder_leaves_out_videos_masks_and_other_files_and_says_so(tmp_path, shared_data):
    write_picture(tmp_path / "boat" / "a.png", BOX)
    write_mask(tmp_path / "boat" / "a_mask.png", BOX)
    (tmp_path / "boat" / "broken.jpg").write_bytes(b"no image at all")
    (tmp_path / "boat" / "empty.png").touch()
    for number in range(5):
        (tmp_path / "boat" / f"{number}.md").write_text("notes")
    (tmp_path / "boat" / "gone.jpg").symlink_to("nowhere")
    os.mkfifo(tmp_path / "boat" / "pipe.jpg")
    shutil.copy(shared_data / "videos" / "cockatoo.mp4", tmp_path / "clip.mp4")
    items = items_of(tmp_path)
    found = list(items)
    assert [Path(item.path).name for item in found] == ["a.png", "broken.jpg", "empty.png"]
    assert "is a text file, neither an image nor a video" in found[1].problem
    assert "is empty (0 bytes)" in found[2].problem
    assert items.expected == 3
    assert items.left_out.count == 9
    lines = items.left_out.lines("left out")
    assert "left out: 0.md, 1.md, 2.md and 2 more (a text file)" in lines
    assert "left out: a_mask.png (a mask)" in lines
    assert "left out: clip.mp4 (a video or an animation; name it, or use a glob)" in lines
    assert "left out: gone.jpg, pipe.jpg (no regular file, or a link to a missing one)" in lines


@pytest.mark.parametrize("form", list(WRITERS))
def test_labelled_data_gives_the_classes_of_its_annotations(form, tmp_path):
    WRITERS[form](tmp_path)
    items = items_of(tmp_path)
    found = {Path(item.path).name: (item.label, item.classes) for item in items}
    assert found == {"anchor.png": ("anchor", ((0,),)), "boat.png": ("boat", ((1,),))}
    assert f"{tmp_path}: 2 images with labels ({form})" in items.remarks


def test_an_annotated_image_that_is_missing_is_a_row_with_its_name(tmp_path):
    entries = [{"file": "gone.png", "class_name": "boat"}, {"file": "a.png", "class_name": "boat"}]
    write_picture(tmp_path / "a.png", BOX)
    (tmp_path / "labels.json").write_text(json.dumps(entries))
    gone, _ = items_of(tmp_path)
    assert gone.path == "gone.png"
    assert "image 'gone.png' is not below" in gone.problem


def test_labelled_data_of_other_classes_has_no_labels_and_says_so(tmp_path):
    write_picture(tmp_path / "a.png", BOX)
    (tmp_path / "table.csv").write_text("file,class\na.png,house\n")
    items = items_of(tmp_path)
    (item,) = items
    assert (item.label, item.classes) == (None, ())
    assert "model.onnx knows no class of" in items.remarks[-1]


def test_an_image_with_several_classes_has_them_all(tmp_path):
    write_picture(tmp_path / "a.png", BOX)
    (tmp_path / "table.csv").write_text("file,class\na.png,Boat\na.png,cup\na.png,house\n")
    (item,) = items_of(tmp_path / "table.csv")
    assert (item.label, item.classes) == ("Boat", ((1,), (2,)))


def test_a_truncated_video_is_a_row_with_its_problem(tmp_path, shared_data):
    (tmp_path / "cut.mp4").write_bytes((shared_data / "videos" / "cockatoo.mp4").read_bytes()[:3000])
    (item,) = items_of(f"{tmp_path}/*.mp4")
    assert item.path == str(tmp_path / "cut.mp4")
    assert "cannot be opened as a video" in item.problem


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("missing", MissingInput, "there is nothing at"),
        ("*.nothing", MissingInput, "matches no files"),
        ("notes.pdf", UsageError, "is a PDF document, neither an image nor a video"),
        ("empty.txt", UsageError, "is empty"),
        ("pipe", UsageError, "is no regular file"),
    ],
)
def test_what_is_no_input_is_refused(name, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.pdf").write_bytes(b"%PDF-1.7")
    (tmp_path / "empty.txt").touch()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(error, match=message):
        items_of(name)


def test_no_inputs_are_refused():
    with pytest.raises(UsageError, match="there are no inputs"):
        items_of()


def test_the_chain_tells_whether_an_item_or_one_before_it_has_changed(tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        write_picture(tmp_path / "boat" / name, BOX)
    before = [item.chain for item in items_of(tmp_path)]
    assert [item.chain for item in items_of(tmp_path)] == before
    write_picture(tmp_path / "boat" / "bb.png", BOX)
    with_more = [item.chain for item in items_of(tmp_path)]
    assert (with_more[:2] == before[:2], with_more[2] == before[2]) == (True, False)
    (tmp_path / "boat" / "bb.png").unlink()
    assert cv2.imwrite(str(tmp_path / "boat" / "b.png"), np.zeros((9, 9, 3), np.uint8))
    changed = [item.chain for item in items_of(tmp_path)]
    assert [one == other for one, other in zip(changed, before, strict=True)] == [True, False, False]
