"""Comparison of two audits: findings that appear, vanish and change, and differences beyond noise."""

import json

import numpy as np
import pytest

import camrt
from camrt.errors import UsageError
from camrt.runtime.audit.baseline import compare, read_baseline
from support.shortcut_models import write_colour_model, write_images


def finding(kind="corner", label="boat", place="top left corner", effect=0.5, half=0.1):
    return {
        "kind": kind,
        "class": label,
        "title": f"{label}: {place}",
        "effect": effect,
        "interval": [effect - half, effect + half],
        "details": {"place": place},
    }


def row(number, *, right, label="boat", on_object=0.5, name="a"):
    values = {"on_object": on_object, "centre": 0.4, "entropy": 0.8}
    return {"file": f"{label}/{name}{number}", "class": label, "right": right, "sha1": str(number), **values}


def report(findings=(), rows=()):
    run = {"model_sha256": "0" * 64}
    found = {"model": "old.onnx", "dataset": "photos", "images": len(rows), "run": run}
    return {**found, "findings": findings, "per_image": rows}


def states(before, after, tested=("boat",)):
    rows = [row(number, right=True) for number in range(8)]
    found = compare(report(before, rows), after, rows, tested)
    return [(one.state, one.kind) for one in found.findings]


def test_findings_are_new_gone_larger_smaller_or_the_same():
    assert states([], [finding()]) == [("new", "corner")]
    assert states([finding()], []) == [("gone", "corner")]
    assert states([finding()], [], tested=()) == [("not tested", "corner")]
    assert states([finding()], [finding(effect=0.6)]) == [("same", "corner")]
    assert states([finding()], [finding(effect=0.7)]) == [("larger", "corner")]
    assert states([finding()], [finding(effect=0.3)]) == [("smaller", "corner")]
    assert states([finding()], [finding(place="border", kind="border")]) == [("new", "border"), ("gone", "corner")]


def test_the_amount_of_a_shift_does_not_make_a_finding_new():
    before, after = (finding("colour", place=f"colour cast (blue {some})") for some in ("+12%", "+14%"))
    assert states([before], [after]) == [("same", "colour")]


def test_the_same_images_are_compared_in_pairs():
    """Of 40 images 8 are lost and none is gained: clear in pairs, not clear for different images."""
    before = [row(number, right=number < 36) for number in range(40)]
    after = [row(number, right=number < 28) for number in range(40)]
    (paired,) = accuracy(before, after)
    assert (paired.paired, paired.before, paired.after) == (40, 0.9, 0.7)
    assert paired.clear
    assert paired.is_loss
    assert paired.interval[0] < -0.2 < paired.interval[1] < 0
    others = [row(number, right=number < 28, name="b") for number in range(40)]
    (unpaired,) = accuracy(before, others)
    assert unpaired.paired == 0
    assert not unpaired.clear


def accuracy(before, after):
    found = compare(report(rows=before), [], after, ["boat"])
    assert found.paired == sum(one["file"] == other["file"] for one, other in zip(before, after, strict=True))
    return [one for one in found.differences if one.measure == "accuracy"]


def test_attention_differences_are_found_and_noise_is_not():
    random = np.random.default_rng(0)
    before = [row(number, right=True, on_object=float(random.normal(0.5, 0.1))) for number in range(40)]
    moved = [{**one, "on_object": one["on_object"] - 0.2 + float(random.normal(0, 0.05))} for one in before]
    same = [{**one, "on_object": one["on_object"] + float(random.normal(0, 0.05))} for one in before]
    clear = [one for one in compare(report(rows=before), [], moved, []).differences if one.clear]
    assert [one.measure for one in clear] == ["on_object"]
    assert clear[0].interval[0] < -0.2 < clear[0].interval[1]
    assert not any(one.clear for one in compare(report(rows=before), [], same, []).differences)


def test_classes_of_one_audit_only_are_named():
    before = [row(number, right=True, label=label) for number in range(6) for label in ("boat", "cup")]
    after = [row(number, right=True, label=label) for number in range(6) for label in ("boat", "dog")]
    assert compare(report(rows=before), [], after, []).remarks == [
        "only in the baseline: 1 classes, such as 'cup'",
        "only in this audit: 1 classes, such as 'dog'",
    ]
    with pytest.raises(UsageError, match="no class of this audit"):
        compare(report(rows=before[1::2]), [], after[::2], [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no report of camrt audit"),
        ("[1]", "it has no 'model'"),
        ('{"model": "a"}', "it has no 'dataset'"),
        ("[" * 100_000, "is no report of camrt audit"),
    ],
)
def test_other_files_are_refused(text, message, tmp_path):
    (tmp_path / "report.json").write_text(text)
    for path in (tmp_path, tmp_path / "report.json"):
        with pytest.raises(UsageError, match=message):
            read_baseline(path)
    with pytest.raises(UsageError, match="there is no report at"):
        read_baseline(tmp_path / "missing.json")


@pytest.mark.parametrize("change", [{"per_image": [{}]}, {"findings": [3]}, {"run": []}, {"per_image": 4}])
def test_a_damaged_report_is_refused(change):
    rows = [row(number, right=True) for number in range(6)]
    with pytest.raises(UsageError, match="the baseline"):
        compare({**report(rows=rows), **change}, [finding()], rows, [])


@pytest.mark.process  # joblib asks the system for its cores
def test_a_mended_model_loses_its_finding(tmp_path):
    data = write_images(tmp_path / "data", marked=1.0, per_class=20)
    models = [camrt.load(write_colour_model(tmp_path / f"{mark}.onnx", mark=mark), "cpu", 1) for mark in (True, False)]
    camrt.audit(models[0], data).write_report(tmp_path / "before")
    after = camrt.audit(models[1], data, baseline=tmp_path / "before")
    assert [(one.state, one.kind) for one in after.comparison.findings] == [("gone", "corner")]
    assert after.comparison.paired == 40
    clear = {(one.label, one.measure) for one in after.comparison.differences if one.clear}
    assert ("boat", "on_object") in clear
    text = after.write_report(tmp_path / "after").read_text(encoding="utf-8")
    assert "Findings: 1 gone." in text
    stored = json.loads((tmp_path / "after" / "report.json").read_text())["comparison"]
    assert stored["findings"][0]["state"] == "gone"
    assert (
        stored["model_sha256"] == json.loads((tmp_path / "before" / "report.json").read_text())["run"]["model_sha256"]
    )
