"""Groups of images: those that differ are marked, and harder classes do not make a group differ."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

import camrt
from camrt.errors import UsageError
from camrt.runtime.audit.grouping_keys import groups_of
from camrt.runtime.audit.groups import group_images
from camrt.runtime.evaluation.datasets.read import read_dataset
from support.shortcut_models import CLASSES, draw, write_colour_model


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Return 120 images whose answers the tests set themselves."""
    from camrt.runtime.audit.samples import read_samples
    from camrt.runtime.evaluation.datasets.labelled import Dataset, LabelledImage, Target

    model = camrt.load(write_colour_model(tmp_path_factory.mktemp("model") / "m.onnx", mark=False), "cpu", 1)
    random = np.random.default_rng(0)
    images = [LabelledImage(str(n), draw(n % 2, random), (Target(CLASSES[n % 2]),)) for n in range(120)]
    return read_samples(model, Dataset("", "folder", images))


def with_answers(samples, right):
    return replace(samples, predicted=np.where(right, samples.classes, 2))


def test_a_group_with_more_errors_is_marked(samples):
    random = np.random.default_rng(1)
    night = np.arange(120) % 3 == 0
    right = np.where(night, random.random(120) < 0.5, random.random(120) < 0.95)
    found = group_images(with_answers(samples, right), ["night" if one else "day" for one in night], "camera")
    by_name = {group.name: group for group in found.groups}
    assert by_name["night"].differs == ["accuracy"]
    value = by_name["night"].values["accuracy"]
    assert value.value == pytest.approx(right[night].mean())
    assert value.interval[0] < value.value < value.interval[1] < value.expected


def test_random_groups_are_marked_in_few_cases(samples):
    """Of 40 random groupings at most 5 percent may have a mark, as the level says; 6 are that with noise."""
    marked = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        names = [f"camera {one}" for one in random.integers(0, 4, 120)]
        found = group_images(with_answers(samples, random.random(120) < 0.8), names, "camera", seed)
        marked += any(group.differs for group in found.groups)
    assert marked <= 6


def test_a_group_with_the_harder_class_does_not_differ(samples):
    """Nearly all errors are in one class, and one camera sees this class more often."""
    random = np.random.default_rng(2)
    hard = samples.classes == 1
    right = np.where(hard, random.random(120) < 0.5, True)
    names = np.where(hard, random.random(120) < 0.9, random.random(120) < 0.1).astype(str)
    found = group_images(with_answers(samples, right), names.tolist(), "camera")
    assert not any(group.differs for group in found.groups)
    values = sorted(group.values["accuracy"].value for group in found.groups)
    assert values[1] - values[0] > 0.2


def test_one_error_in_a_small_group_is_no_difference(samples):
    right = np.arange(120) != 5
    names = ["few" if number in (5, 6, 7, 8) else "many" for number in range(120)]
    found = group_images(with_answers(samples, right), names, "camera")
    assert not any(group.differs for group in found.groups)


def test_groups_of_few_images_are_counted_and_not_compared(samples):
    names = ["a"] * 60 + ["b"] * 57 + ["c"] * 3
    found = group_images(samples, names, "camera")
    assert ([group.name for group in found.groups], found.small) == (["a", "b"], 1)


def write(path, number=0, tags=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(draw(number % 2, np.random.default_rng(number))[..., ::-1])
    exif = Image.Exif()
    for tag, value in (tags or {}).items():
        exif[tag] = value
    image.save(path, exif=exif)
    return path


MODEL_TAG = 0x0110


@pytest.mark.input_kind("folder", "groups by sub-folder, by EXIF tag, by column of a CSV (audit)", "Pillow", "equal")
def test_groups_come_from_folders_tags_and_columns(tmp_path):
    write(tmp_path / "a" / "boat" / "night" / "1.jpg", tags={MODEL_TAG: "X100 \0"})
    write(tmp_path / "a" / "boat" / "day" / "left" / "2.jpg", tags={MODEL_TAG: "Z5"})
    write(tmp_path / "a" / "anchor" / "3.jpg")
    dataset = read_dataset(tmp_path / "a")
    assert groups(dataset, "folder") == {"1": "night", "2": "day/left", "3": "(none)"}
    assert groups(dataset, "exif:Model") == {"1": "X100", "2": "Z5", "3": "(none)"}
    (tmp_path / "a" / "table.csv").write_text(
        "file,class,camera,x0,y0,x1,y1,note\n"
        "boat/night/1.jpg,boat,gate,1,1,5,5,a\nboat/night/1.jpg,boat,gate,6,6,9,9,b\nanchor/3.jpg,anchor,,,,,,a\n"
    )
    table = read_dataset(tmp_path / "a" / "table.csv")
    assert groups(table, "camera") == {"1": "gate", "3": "(none)"}
    assert groups(table, "note") == {"1": "a, b", "3": "a"}
    assert groups(table, "folder") == {"1": "boat/night", "3": "anchor"}


def groups(dataset, by):
    group_of = groups_of(dataset, by)
    return {image.name.rpartition("/")[2][0]: group_of(image) for image in dataset.images}


def test_unknown_groups_are_refused_with_those_that_are_there(tmp_path):
    write(tmp_path / "a" / "boat" / "1.jpg", tags={MODEL_TAG: "X100"})
    write(tmp_path / "a" / "anchor" / "3.jpg", tags={MODEL_TAG: "X100"})
    dataset = read_dataset(tmp_path / "a")
    for by, message in {
        "camera": "use folder, exif:TAG or a column; the labels have no more columns",
        "exif:Lens": "no image has this tag; the images have Model",
        "exif:": "no image has this tag; the images have Model",
        "exif:Model": "all images are in one group, 'X100'",
        "folder": r"all images are in one group, '\(none\)'",
    }.items():
        with pytest.raises(UsageError, match=message):
            groups_of(dataset, by)
    (tmp_path / "table.csv").write_text("file,class,camera\na/boat/1.jpg,boat,b\na/anchor/3.jpg,anchor,c\n")
    with pytest.raises(UsageError, match="the table of labels has 'camera'"):
        groups_of(read_dataset(tmp_path / "table.csv"), "lens")


@pytest.mark.process  # joblib asks the system for its cores
def test_an_audit_by_groups_is_in_the_page_and_the_tables(tmp_path):
    model = camrt.load(write_colour_model(tmp_path / "m.onnx", mark=False), "cpu", 1)
    for number in range(32):
        night = number % 4 >= 2
        path = tmp_path / "data" / CLASSES[number % 2] / ("night" if night else "day") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        # At night the other class's object is in the picture.
        assert cv2.imwrite(str(path), draw((number + night) % 2, np.random.default_rng(number)))
    found = camrt.audit(model, tmp_path / "data", passes=0, group_by="folder")
    assert [group.name for group in found.grouping.groups if "accuracy" in group.differs] == ["day", "night"]
    page = found.write_report(tmp_path / "report")
    assert "2 of 2 groups differ by more than noise" in page.read_text(encoding="utf-8")
    lines = (page.parent / "images.csv").read_text().splitlines()
    assert lines[0].endswith(",group")
    assert {line.rpartition(",")[2] for line in lines[1:]} == {"day", "night"}
