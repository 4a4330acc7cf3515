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
    assert "1 findings of a kind of --fail-on" in done.stderr
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing"], "there is nothing at missing"),
        (["data", "--fail-on", "sky"], "--fail-on sky: unknown kind; known are any, corner"),
        (["data", "--passes", "-1"], "passes -1: at least 0"),
    ],
)
def test_wrong_use_gives_one_line(arguments, message, model_file, tmp_path):
    write_images(tmp_path / "data", marked=0.0, per_class=2)
    assert message in refusal("audit", model_file, *arguments, status=2, cwd=tmp_path)
