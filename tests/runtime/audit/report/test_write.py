"""The folder of a report: one page that loads nothing, tables and boxes that others read, and nothing half-written."""

import csv
import json
import re
import sys

import cv2
import numpy as np
import pytest

import camrt
from camrt.errors import UsageError
from camrt.runtime.audit.report import classes
from camrt.runtime.evaluation.datasets.labelled import LabelledImage, Target
from camrt.runtime.evaluation.datasets.read import read_dataset
from support import small_disk
from support.html_elements import Elements
from support.shortcut_models import CLASSES, draw, write_colour_model, write_images

pytestmark = pytest.mark.process  # joblib asks the system for its cores
FILES = ["boxes.json", "findings.csv", "fiftyone_dataset.py", "images.csv", "report.html", "report.json"]


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    return write_colour_model(tmp_path_factory.mktemp("model") / "model.onnx", mark=True)


@pytest.fixture(scope="module")
def model(model_file):
    return camrt.load(model_file, provider="cpu", threads=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("data") / "photos", marked=0.7)


@pytest.fixture(scope="module")
def audit(model, data):
    return camrt.audit(model, data)


@pytest.fixture(scope="module")
def report(audit, tmp_path_factory):
    return audit.write_report(tmp_path_factory.mktemp("out") / "report").parent


def test_the_report_is_these_files_and_nothing_else(report):
    assert sorted(path.name for path in report.iterdir()) == sorted(FILES)
    assert [path.name for path in report.parent.iterdir()] == ["report"]


def test_the_page_is_valid_loads_nothing_and_shows_the_proof(report, audit):
    text = (report / "report.html").read_text(encoding="utf-8")
    page = Elements(text)
    assert not {"script", "link", "iframe"} & set(page.names)
    sources = re.findall(r'(?:src|href)="([^"]{1,20})', text)
    assert sources
    assert all(source.startswith(("data:image/jpeg;", "#")) for source in sources)
    assert "url(" not in text
    targets, anchors = set(re.findall(r'href="#([^"]+)"', text)), set(re.findall(r'id="([^"]+)"', text))
    assert targets <= anchors
    words = " ".join(page.text)
    assert "The model takes a shortcut in 1 of 2 classes: 'boat' is recognised by the bottom right corner" in words
    first = audit.findings[0]
    for arm in (first.proof.added, first.proof.removed):
        assert f"{arm.treated:.0%}" in page.text
        assert f"{arm.control:.0%}" in page.text
    assert "boat → anchor" in words
    assert "anchor → boat" in words
    assert audit.run.model_sha256 in words
    assert "of the evidence for 'boat'" in words.lower()


def test_examples_show_images_that_flip(audit):
    examples = audit.findings[0].examples
    assert {one.added for one in examples} == {True, False}
    for one in examples:
        assert one.before.image.shape == one.after.image.shape
        assert (one.before.image != one.after.image).any()
        if one.added:
            assert (one.before.answer, one.after.answer) == ("anchor", "boat")
            assert one.donor.startswith("boat/")
            assert one.after.score > one.before.score
        else:
            assert one.image in audit.findings[0].images
            assert one.after.score < one.before.score
    # The mark is green, in the bottom right corner: gone in one direction, there in the other.
    corner = [one.after.image[-4:, -4:].reshape(-1, 3).mean(axis=0) for one in examples]
    assert all((green[1] > 150) == one.added for green, one in zip(corner, examples, strict=True))


def test_the_table_of_images_has_the_values_of_each(report, audit, model, data):
    with (report / "images.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == audit.samples.names
    assert rows == [{key: _cell(value) for key, value in row.items()} for row in audit.as_dict()["per_image"]]
    for row in rows[::7]:
        result = model(cv2.imread(str(data / row["file"])))
        assert row["class"] == row["file"].split("/")[0]
        assert row["answer"] == result.label(result.class_id)
        assert row["right"] == str(row["answer"] == row["class"])
        assert float(row["score"]) == pytest.approx(result.scores[model.class_id(row["class"])], abs=1e-4)
        assert (row["width"], row["height"]) == ("64", "64")
    right = np.mean([row["right"] == "True" for row in rows if row["class"] == "boat"])
    assert right == pytest.approx(audit.classes[1].accuracy)


def _cell(value):
    return "" if value is None else str(value)


def test_the_table_of_findings_is_in_their_order(report, audit):
    with (report / "findings.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["rank"], row["title"]) for row in rows] == [
        (str(number), one.title) for number, one in enumerate(audit.findings, 1)
    ]


def test_the_boxes_are_valid_coco_and_those_of_the_maps(report, model, data):
    value = json.loads((report / "boxes.json").read_text(encoding="utf-8"))
    assert {"images", "annotations", "categories"} <= set(value)
    images = {one["id"]: one for one in value["images"]}
    categories = {one["id"]: one["name"] for one in value["categories"]}
    assert len(images) == len(value["images"]) == 60
    assert sorted(categories.values()) == sorted(CLASSES)
    assert len({one["id"] for one in value["annotations"]}) == len(value["annotations"])
    for one in value["annotations"]:
        image = images[one["image_id"]]
        x, y, width, height = one["bbox"]
        assert x >= 0 <= y
        assert width > 0 < height
        assert x + width <= image["width"]
        assert y + height <= image["height"]
        assert one["area"] == width * height
        assert one["iscrowd"] == 0
        assert cv2.contourArea(np.array(one["segmentation"][0], np.float32).reshape(-1, 2)) == one["area"]
    image = value["images"][40]
    own = [one for one in value["annotations"] if one["image_id"] == image["id"]]
    label = image["file_name"].split("/")[0]
    expected = model(cv2.imread(str(data / image["file_name"]))).boxes(model.class_id(label))
    assert [one["bbox"] for one in own] == [[x0, y0, x1 - x0, y1 - y0] for x0, y0, x1, y1, _ in expected]
    assert {categories[one["category_id"]] for one in own} == {label}


def test_the_boxes_are_read_again(report, data, tmp_path):
    value = json.loads((report / "boxes.json").read_text(encoding="utf-8"))
    copy = tmp_path / "photos"
    copy.symlink_to(data)
    (tmp_path / "boxes.json").write_text(json.dumps(value))
    dataset = read_dataset(tmp_path / "boxes.json")
    boxes = sum(len(target.boxes) for image in dataset.images for target in image.targets)
    assert boxes == len(value["annotations"])
    assert not any(image.problem for image in dataset.images)


def test_the_script_for_fiftyone_finds_the_images(report, data):
    text = (report / "fiftyone_dataset.py").read_text(encoding="utf-8")
    compile(text, "fiftyone_dataset.py", "exec")
    assert repr(str(data)) in text


def test_an_older_report_is_replaced_only_when_allowed_and_other_files_stay(audit, tmp_path):
    folder = tmp_path / "report"
    audit.write_report(folder)
    with pytest.raises(UsageError, match="has a report"):
        audit.write_report(folder)
    (folder / "notes.txt").write_text("mine")
    (folder / "report.json").write_text("old")
    audit.write_report(folder, overwrite=True)
    assert json.loads((folder / "report.json").read_text())["images"] == 60
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_folder_of_other_files_is_refused(audit, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="a folder with other files"):
            audit.write_report(tmp_path / "photos", overwrite=overwrite)
    with pytest.raises(UsageError, match="is a file"):
        audit.write_report(tmp_path / "photos" / "a.jpg")
    with pytest.raises(UsageError, match="there is no folder"):
        audit.write_report(tmp_path / "missing" / "report")
    assert [path.name for path in tmp_path.rglob("*")] == ["photos", "a.jpg"]
    (tmp_path / "empty").mkdir()
    audit.write_report(tmp_path / "empty")


def test_a_full_disk_is_one_line_and_leaves_nothing(model_file, data, tmp_path):
    command = [
        sys.executable,
        "-m",
        "camrt.cli",
        "audit",
        str(model_file),
        str(data),
        "--passes",
        "0",
        "--provider",
        "cpu",
    ]
    inside = ["sh", "-c", '"$@"; status=$?; ls -A disk >&2; exit $status', "sh", *command, "-o", "disk/report"]
    done = small_disk.run(inside, tmp_path, size="64k")
    assert done.returncode == 1
    errors = done.stderr.splitlines()
    assert errors[-1] == "camrt: disk/report cannot be written: No space left on device"
    assert "Traceback" not in done.stderr


def test_hostile_names_are_text(model, tmp_path):
    name = "<img src=x onerror=alert(1)>\"'&.png"
    random = np.random.default_rng(0)
    images = []
    for number in range(8):
        label = CLASSES[number % 2]
        (tmp_path / label).mkdir(exist_ok=True)
        path = tmp_path / label / f"{number}{name}"
        path.write_bytes(cv2.imencode(".png", draw(number % 2, random))[1].tobytes())
        images.append(LabelledImage(f"{label}/{path.name}", path, (Target(label),)))
    report = camrt.audit(model, images, passes=0).write_report(tmp_path / "report")
    page = Elements(report.read_text(encoding="utf-8"))
    assert "script" not in page.names
    assert "onerror=alert(1)" in " ".join(page.text)
    assert "Nothing is proved: no class could be tested." in " ".join(page.text)


def test_an_image_that_has_gone_is_named_in_its_place(model, tmp_path):
    data = write_images(tmp_path / "data", marked=0.0, per_class=3)
    found = camrt.audit(model, data)
    (data / "boat" / "001.png").unlink()
    words = " ".join(Elements(found.write_report(tmp_path / "report").read_text(encoding="utf-8")).text)
    assert "001.png cannot be read: No such file or directory" in words


def test_images_in_memory_make_a_report(model, tmp_path):
    random = np.random.default_rng(0)
    images = [LabelledImage(str(one), draw(one % 2, random), (Target(CLASSES[one % 2]),)) for one in range(8)]
    folder = camrt.audit(model, images).write_report(tmp_path / "report").parent
    assert json.loads((folder / "boxes.json").read_text())["images"][3]["file_name"] == "3"


def test_a_page_of_many_classes_stays_small(audit, tmp_path, monkeypatch):
    monkeypatch.setattr(classes, "_MOST_CHARACTERS", 1000)
    text = audit.write_report(tmp_path / "report").read_text(encoding="utf-8")
    assert "1 more classes have no section" in text
    assert 'id="class-1"' in text
    assert 'id="class-0"' not in text
    assert all(f">{label}<" in text for label in CLASSES)
