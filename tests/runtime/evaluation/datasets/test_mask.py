"""Masks are found by name, and their usual values are understood."""

import cv2
import numpy as np
import pytest

from camrt.errors import SourceError, UsageError
from camrt.runtime.evaluation.datasets.mask import read_mask
from camrt.runtime.evaluation.datasets.read import read_dataset
from support.labelled_data import BOXES, HEIGHT, WIDTH, write_folder, write_mask, write_picture, write_table


def object_of(box):
    inside = np.zeros((HEIGHT, WIDTH), bool)
    x0, y0, x1, y1 = box
    inside[y0:y1, x0:x1] = True
    return inside


def form(name, *arguments):
    mark = pytest.mark.input_kind("labels", name, "the mask that was written", "equal")
    return pytest.param(*arguments, id=name, marks=mark)


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        form("mask PNG of 0 and 255", 255, 0),
        form("mask PNG of 0 and 1", 1, 0),
        form("mask PNG of 0 and a class number", 15, 0),
        form("mask PNG of object 1, other 2 (trimap)", 1, 2),
    ],
)
def test_masks_of_two_values(inside, outside, tmp_path):
    mask, ignored = read_mask(write_mask(tmp_path / "a.png", BOXES["boat"], inside, outside))
    assert np.array_equal(mask, object_of(BOXES["boat"]))
    assert not ignored.any()


@form("mask PNG of object, other and void").marks[0]
@pytest.mark.parametrize(("values", "void"), [((0, 1), 255), ((2, 1), 3)])
def test_void_pixels_do_not_count(values, void, tmp_path):
    path = write_mask(tmp_path / "a.png", BOXES["boat"], values[1], values[0])
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    pixels[0] = void
    cv2.imwrite(str(path), pixels)
    mask, ignored = read_mask(path)
    assert np.array_equal(mask, object_of(BOXES["boat"]))
    assert ignored[0].all()
    assert not ignored[1:].any()


@form("mask PNG of a colour on black").marks[0]
def test_colour_and_alpha(tmp_path):
    inside = object_of(BOXES["boat"])
    colours = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    colours[..., 3] = 255
    colours[inside, 2] = 128
    cv2.imwrite(str(tmp_path / "a.png"), colours)
    assert np.array_equal(read_mask(tmp_path / "a.png")[0], inside)


def test_smooth_edges_are_cut_in_the_middle(tmp_path):
    grey = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
    cv2.imwrite(str(tmp_path / "a.png"), grey)
    assert np.array_equal(read_mask(tmp_path / "a.png")[0], grey >= 128)


def test_masks_of_many_classes_and_other_files_are_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.tile(np.arange(21, dtype=np.uint8), (4, 1)))
    with pytest.raises(SourceError, match=r"has the values 0, 1, 2, 3, 4, 5 \.\.\.; a mask has 0 and 255"):
        read_mask(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"\x89PNG no more")
    with pytest.raises(SourceError, match="cannot be read as PNG"):
        read_mask(tmp_path / "b.png")
    with pytest.raises(SourceError):
        read_mask(tmp_path / "missing.png")


def masks_of(dataset):
    return {target.label: [path.name for path in target.masks] for one in dataset.images for target in one.targets}


def test_masks_beside_the_images_are_no_images(tmp_path):
    write_folder(tmp_path)
    for name, box in BOXES.items():
        write_mask(tmp_path / name / "deeper" / f"{name}_mask.png", box)
    assert masks_of(read_dataset(tmp_path)) == {name: [f"{name}_mask.png"] for name in BOXES}


def test_masks_in_a_folder_beside_that_of_the_images(tmp_path):
    write_folder(tmp_path / "images")
    for name, box in BOXES.items():
        write_mask(tmp_path / "masks" / name / "deeper" / f"{name}.png", box)
    dataset = read_dataset(tmp_path)
    assert dataset.labels == list(BOXES)
    assert masks_of(dataset) == {name: [f"{name}.png"] for name in BOXES}


def test_a_folder_of_masks_can_be_named_and_must_fit(tmp_path):
    write_folder(tmp_path / "data")
    write_mask(tmp_path / "elsewhere" / "boat.png", BOXES["boat"])
    dataset = read_dataset(tmp_path / "data", masks=tmp_path / "elsewhere")
    assert masks_of(dataset) == {"anchor": [], "boat": ["boat.png"]}
    assert dataset.remarks == ["1 of 2 images have a mask"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="has no mask of any image"):
        read_dataset(tmp_path / "data", masks=tmp_path / "empty")
    with pytest.raises(UsageError, match="there is no folder"):
        read_dataset(tmp_path / "data", masks=tmp_path / "missing")


def test_a_table_names_masks_and_a_mask_for_two_classes_is_left_out(tmp_path):
    write_table(tmp_path)
    for name, box in BOXES.items():
        write_mask(tmp_path / "m" / f"{name}.png", box)
        write_mask(tmp_path / "images" / f"{name}_mask.png", box)
    (tmp_path / "boxes.csv").write_text("file,class,mask\nimages/boat.png,boat,m/boat.png\n")
    assert masks_of(read_dataset(tmp_path)) == {"boat": ["boat.png"]}
    (tmp_path / "boxes.csv").write_text("file,class\nimages/boat.png,boat\nimages/boat.png,anchor\n")
    dataset = read_dataset(tmp_path)
    assert masks_of(dataset) == {"boat": [], "anchor": []}
    assert dataset.remarks == ["left out: the masks of 1 images with objects of several classes"]
    write_picture(tmp_path / "images" / "other.png", BOXES["boat"])
