"""``camrt audit``: table, JSON, exit status and wrong use."""

import json

import pytest

from support.command import camrt, refusal, succeeds
from support.shortcut_models import write_colour_model, write_images

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    return write_colour_model(tmp_path_factory.mktemp("model") / "model.onnx", mark=True)


def test_a_finding_is_shown_and_can_fail_the_run(model_file, tmp_path):
    data = write_images(tmp_path / "data", marked=1.0)
    shown = succeeds("audit", model_file, data, "--provider", "cpu")
    assert "1. 'boat' is recognised by the bottom right corner" in shown
    assert "corner, effect" in shown
    assert "map on object" in shown
    done = camrt("audit", model_file, data, "--provider", "cpu", "--json", "--fail-on", "corner")
    assert done.returncode == 1
    assert "camrt: --fail-on: 1 findings of corner" in done.stderr
    report = json.loads(done.stdout)
    assert not report["clean"]
    assert report["findings"][0]["kind"] == "corner"
    assert camrt("audit", model_file, data, "--provider", "cpu", "--fail-on", "any").returncode == 1
    assert camrt("audit", model_file, data, "--provider", "cpu", "--fail-on", "colour").returncode == 0


def test_a_clean_audit_says_so(model_file, tmp_path):
    data = write_images(tmp_path / "data", marked=0.0, per_class=12)
    done = camrt("audit", model_file, data, "--provider", "cpu", "--fail-on", "any")
    assert done.returncode == 0, done.stderr
    assert "clean: none of " in done.stdout
    assert "boxes or masks make the audit sharper" in done.stderr


def test_a_report_is_written_and_is_the_baseline_of_the_next_audit(model_file, tmp_path):
    data = write_images(tmp_path / "data", marked=0.0, per_class=24)
    clean = camrt("audit", model_file, data, "-o", "report", "--passes", "0", cwd=tmp_path)
    assert clean.returncode == 0, clean.stderr
    assert clean.stderr.splitlines()[-1] == "wrote report/report.html"
    again = refusal("audit", model_file, data, "-o", "report", status=2, cwd=tmp_path)
    assert again == "report has a report; choose another name, or replace it with --overwrite"
    # The other model answers "anchor" for faint boats, as they are without the mark.
    worse = ("audit", write_colour_model(tmp_path / "good.onnx", mark=False), data, "--passes", "0")
    before = camrt(*worse, "-o", "good", cwd=tmp_path)
    assert before.returncode == 0, before.stderr
    failed = camrt(
        *("audit", model_file, data, "--passes", "0", "--baseline", "good", "--fail-on", "worse", "--json"),
        cwd=tmp_path,
    )
    assert failed.returncode == 1
    assert "camrt: --fail-on: 1 classes with a clear loss of accuracy: boat" in failed.stderr
    differences = json.loads(failed.stdout)["comparison"]["differences"]
    first = next(one for one in differences if one["measure"] == "accuracy")
    assert (first["class"], first["clear"]) == ("boat", True)
    passed = camrt(*worse, "--baseline", "report", "--fail-on", "worse", "--fail-on", "new", cwd=tmp_path)
    assert passed.returncode == 0, passed.stderr
    assert f"compared with {model_file} on {data}" in passed.stdout


def test_groups_that_differ_can_fail_the_run(tmp_path):
    model_file = write_colour_model(tmp_path / "model.onnx", mark=False)
    data = write_images(tmp_path / "data", marked=0.0, per_class=16)
    for number, path in enumerate(sorted(data.rglob("*.png"))):
        (path.parent / f"camera-{number % 2}").mkdir(exist_ok=True)
        path.rename(path.parent / f"camera-{number % 2}" / path.name)
    arguments = ("audit", model_file, data, "--passes", "0", "--group-by", "folder", "--fail-on", "group")
    done = camrt(*arguments)
    assert done.returncode == 0, done.stderr
    assert "None of 2 groups differs from the others by more than noise." in done.stdout
    for path in (data / "anchor" / "camera-1").iterdir():  # these images become the other class's
        path.write_bytes((data / "boat" / "camera-1" / path.name).read_bytes())
    done = camrt(*arguments)
    assert done.returncode == 1, done.stdout
    assert "--fail-on: 2 groups differ: camera-0, camera-1" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing"], "there is nothing at missing"),
        (["data", "--fail-on", "new"], "--fail-on new needs --baseline"),
        (["data", "--fail-on", "group"], "--fail-on group needs --group-by"),
        (["data", "--group-by", "camera"], "--group-by camera: use folder, exif:TAG or a column"),
        (["data", "--baseline", "missing.json"], "there is no report at missing.json"),
        (["data", "-o", "missing/report"], "there is no folder missing; create it first"),
        (["data", "-o", "data"], "data is a folder with other files"),
        (["data", "--fail-on", "sky"], "--fail-on sky: unknown kind; known are any, corner"),
        (["data", "--passes", "-1"], "passes -1: at least 0"),
    ],
)
def test_wrong_use_gives_one_line(arguments, message, model_file, tmp_path):
    write_images(tmp_path / "data", marked=0.0, per_class=2)
    assert message in refusal("audit", model_file, *arguments, status=2, cwd=tmp_path)


def test_a_repair_writes_a_file_without_the_shortcut(model_file, tmp_path):
    data = write_images(tmp_path / "data", marked=1.0)
    arguments = ("audit", model_file, data, "--provider", "cpu")
    done = camrt(*arguments, "--repair", "corner:boat", "-o", tmp_path / "fixed.onnx", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["finding"]["kind"] == "corner"
    before, after = report["before"], report["after"]
    assert after["own_without"] >= before["own_without"] + 0.5 * (before["own"] - before["own_without"])
    assert after["others"] >= before["others"] - 0.01
    assert report["reached"]
    assert "repaired" in succeeds("inspect", tmp_path / "fixed.onnx")
    again = camrt("audit", tmp_path / "fixed.onnx", data, "--provider", "cpu", "--fail-on", "any")
    assert again.returncode == 0, again.stdout
    shown = succeeds(*arguments, "--repair", "1", "-o", tmp_path / "second.onnx")
    assert "'boat' without the evidence" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--repair", "1"], "--repair needs a file to write: -o fixed.onnx"),
        (["--repair", "3", "-o", "fixed.onnx"], "--repair 3: there is no such finding; the audit has none"),
        (["--repair", "1", "-o", "fixed.onnx", "--fail-on", "any"], "--fail-on does not go with --repair"),
    ],
)
def test_a_repair_that_cannot_be_made_gives_one_line(arguments, message, model_file, tmp_path):
    write_images(tmp_path / "data", marked=0.0, per_class=8)
    assert message in refusal("audit", model_file, "data", *arguments, status=2, cwd=tmp_path)
    assert not (tmp_path / "fixed.onnx").exists()
