"""Audits of a model that sees colours: what it uses is found and proved, and nothing else."""

import json

import cv2
import numpy as np
import pytest

import camrt
from camrt.errors import UsageError
from camrt.runtime.audit.audit import KINDS
from camrt.runtime.evaluation.datasets.labelled import LabelledImage, Target
from support.shortcut_models import CLASSES, draw, write_colour_model, write_images

pytestmark = pytest.mark.process  # joblib asks the system for its cores


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {
        mark: camrt.load(write_colour_model(folder / f"{mark}.onnx", mark=mark), provider="cpu", threads=1)
        for mark in (True, False)
    }


@pytest.mark.parametrize("share", [0.7, 1.0])
def test_a_mark_that_the_model_uses_is_the_first_finding(models, tmp_path, share):
    found = camrt.audit(models[True], write_images(tmp_path / "data", marked=share))
    assert not found.clean
    first = found.findings[0]
    assert (first.kind, first.label, first.details["place"]) == ("corner", "boat", "bottom right corner")
    assert first.kind in KINDS
    assert first.p_value < 0.01
    assert first.interval[0] <= first.effect <= first.interval[1]
    assert first.proof.removed.treated > first.proof.removed.control + 0.2
    assert first.proof.added.treated > first.proof.added.control + 0.1
    assert "bottom right corner" in first.title
    assert f"{first.proof.removed.treated:.0%}" in first.title
    marked = {f"boat/{number:03d}.png" for number in range(round(30 * share))}
    assert set(first.images) <= marked
    assert {one.label for one in found.findings} == {"boat"}


def test_the_same_images_are_no_finding_for_a_model_that_does_not_use_the_mark(models, tmp_path):
    found = camrt.audit(models[False], write_images(tmp_path / "data", marked=1.0))
    assert found.clean
    assert found.findings == []
    assert found.tests > 10


def test_images_without_the_mark_are_no_finding(models, tmp_path):
    assert camrt.audit(models[True], write_images(tmp_path / "data", marked=0.0)).clean


def test_the_audit_is_the_same_each_time_and_has_the_agreed_keys(models, tmp_path):
    data = write_images(tmp_path / "data", marked=1.0, per_class=12)
    first, second = (camrt.audit(models[True], data).to_json() for _ in range(2))
    assert first == second
    report = json.loads(first)
    assert set(report) >= {"images", "classes", "findings", "clean"}
    keys = {"kind", "class", "title", "effect", "p_value", "images", "proof", "interval"}
    assert all(set(one) >= keys for one in report["findings"])
    assert report["images"] == 24
    assert [one["class"] for one in report["classes"]] == list(CLASSES)
    assert {"accuracy", "confidence", "mean_map", "confusions", "components", "clusters"} <= set(report["classes"][0])


def test_findings_on_random_labels_are_rare(models):
    """The images of both classes are drawn alike, so that no class has anything of its own."""
    found = 0
    for seed in range(4):
        random = np.random.default_rng(seed)
        images = [
            LabelledImage(str(number), draw(int(random.integers(2)), random, mark=random.random() < 0.5), (target,))
            for number in range(40)
            for target in [Target(CLASSES[number % 2])]
        ]
        found += len(camrt.audit(models[True], images).findings)
    assert found == 0


@pytest.mark.input_kind(
    "folder", "broken, empty, duplicate and unlabelled images, unknown classes (audit)", "-", "one line each"
)
def test_every_odd_image_is_a_line_and_no_crash(models, tmp_path):
    data = write_images(tmp_path / "data", marked=1.0, per_class=12)
    (data / "boat" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (data / "boat" / "empty.jpg").write_bytes(b"")
    (data / "boat" / "twice.png").write_bytes((data / "anchor" / "000.png").read_bytes())
    (data / "cup").mkdir()
    (data / "zebra").mkdir()
    random = np.random.default_rng(9)
    for path in (data / "cup" / "one.png", data / "zebra" / "one.png", data / "loose.png"):
        assert cv2.imwrite(str(path), draw(0, random))
    found = camrt.audit(models[True], data)
    remarks = "\n".join(found.remarks)
    for words in ("broken.png", "empty.jpg", "zebra", "which have no class", "the same file in two classes"):
        assert words in remarks
    assert "1 classes have one image: cup" in remarks
    assert "fewer than 4 images" in remarks
    assert found.images == 26


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_images_give_no_finding_and_no_crash(models, tmp_path, count):
    found = camrt.audit(models[True], write_images(tmp_path / "data", marked=1.0, per_class=count))
    assert found.clean
    assert any("too few for experiments" in line for line in found.remarks)


def test_one_class_alone_is_reported_as_such(models, tmp_path):
    random = np.random.default_rng(0)
    images = [LabelledImage(str(one), draw(1, random), (Target("boat"),)) for one in range(8)]
    found = camrt.audit(models[True], images)
    assert found.clean
    assert any("one class only" in line for line in found.remarks)


def test_a_small_budget_leaves_classes_out_with_a_line(models, tmp_path):
    found = camrt.audit(models[True], write_images(tmp_path / "data", marked=1.0, per_class=8), passes=0)
    assert (found.passes, found.tested_classes) == (0, 0)
    assert any("2 classes were not tested" in line for line in found.remarks)


def test_wrong_use_is_refused(models, tmp_path):
    with pytest.raises(UsageError, match="at least 0"):
        camrt.audit(models[True], tmp_path, passes=-1)
    with pytest.raises(UsageError, match="there is no image to audit"):
        camrt.audit(models[True], [LabelledImage("a", tmp_path / "missing.png", (Target("boat"),))])
    with pytest.raises(UsageError, match="knows no class"):
        camrt.audit(models[True], [LabelledImage("a", draw(0, np.random.default_rng(0)), (Target("zebra"),))])


def test_stated_boxes_take_the_place_of_the_estimate(models):
    random = np.random.default_rng(0)
    images = [
        LabelledImage(
            str(number),
            draw(number % 2, random),
            (Target(CLASSES[number % 2], boxes=((12, 12, 52, 52) if right else (0, 0, 10, 10),)),),
        )
        for number in range(16)
        for right in [number < 12]
    ]
    found = camrt.audit(models[False], images, passes=0)
    assert not any("no places of objects" in line for line in found.remarks)
    right, all_images = (
        camrt.audit(models[False], some, passes=0).classes[0].on_object for some in (images[:12], images)
    )
    assert right > 0.9 > all_images
