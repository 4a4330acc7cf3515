"""Facts beside the pixels that tell the class of an image."""

import cv2
import numpy as np
import pytest
from PIL import Image

import camrt
from camrt.runtime.audit.duplicates import duplicate_remarks
from camrt.runtime.audit.file_facts import name_pattern
from support.shortcut_models import draw, write_colour_model

pytestmark = pytest.mark.process  # joblib asks the system for its cores


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = write_colour_model(tmp_path_factory.mktemp("model") / "model.onnx", mark=False)
    return camrt.load(path, provider="cpu", threads=1)


def write(root, save, count=16):
    random = np.random.default_rng(0)
    for class_id, label in enumerate(("anchor", "boat")):
        (root / label).mkdir(parents=True)
        for number in range(count):
            save(root / label, number, class_id, draw(class_id, random))
    return root


def data_lines(model, root):
    return [line for line in camrt.audit(model, root, passes=0).remarks if line.startswith("data:")]


def test_alike_files_are_no_line(model, tmp_path):
    root = write(tmp_path / "data", lambda folder, number, _, image: cv2.imwrite(str(folder / f"{number}.png"), image))
    assert data_lines(model, root) == []


def test_what_cleanvision_finds_in_one_class_is_a_line(model, tmp_path, capfd):
    def save(folder, number, class_id, image):
        if class_id == 1:
            image = image.max(axis=2)
        cv2.imwrite(str(folder / f"{number}.png"), image)

    lines = data_lines(model, write(tmp_path / "data", save))
    assert any("100% of 'boat' and 0% of the other images are grey (CleanVision)" in line for line in lines), lines
    assert capfd.readouterr() == ("", "")


def test_names_sizes_and_light_that_tell_a_class_are_lines(model, tmp_path):
    def save(folder, number, class_id, image):
        if class_id == 1:
            image = cv2.resize(np.clip(image.astype(int) + 60, 0, 255).astype(np.uint8), (80, 64))
        cv2.imwrite(str(folder / f"{('DSC_', 'scan')[class_id]}{number:04d}.png"), image)

    lines = "\n".join(data_lines(model, write(tmp_path / "data", save)))
    assert "100% of 'anchor' and 0% of the other images have names like 'dsc_*.png'" in lines
    assert "have a size of '64x64'" in lines
    assert "images of 'anchor' are darker than" in lines


def test_a_camera_that_tells_a_class_is_a_line(model, tmp_path):
    def save(folder, number, class_id, image):
        file = Image.fromarray(image[..., ::-1])
        exif = Image.Exif()
        exif[0x0110] = "Cam A" if class_id == 0 or number == 0 else "Cam B"
        file.save(folder / f"{number}.jpg", exif=exif, quality=95)

    lines = data_lines(model, write(tmp_path / "data", save))
    assert any("100% of 'anchor' and 6% of the other images have the camera 'Cam A'" in line for line in lines)


def test_few_images_are_no_line(model, tmp_path):
    root = write(
        tmp_path / "data",
        lambda folder, number, class_id, image: cv2.imwrite(str(folder / f"{'ab'[class_id]}{number}.png"), image),
        count=5,
    )
    assert data_lines(model, root) == []


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("boat/IMG_0001.JPG", "img_*.jpg"),
        ("0001.png", "*.png"),
        ("a/b.c/scan", "*"),
        ("x/photo 12 (3).jpeg", "photo *.jpeg"),
    ],
)
def test_a_name_has_a_pattern(name, pattern):
    assert name_pattern(name) == pattern


def test_near_duplicates_in_two_parts_of_the_data_are_a_line_of_their_own():
    hashes = np.array([5, 5, 900000, 900000], np.uint64)
    names = ["train/a/1.jpg", "val/a/7.jpg", "train/a/2.jpg", "train/a/3.jpg"]
    lines = duplicate_remarks(hashes, [b""] * 4, np.zeros(4, np.intp), names)
    assert lines == [
        "near duplicates in two parts of the data, so that the figures of one are too good: train/a/1.jpg and "
        "val/a/7.jpg",
        "near duplicates in one class: train/a/2.jpg and train/a/3.jpg",
    ]
