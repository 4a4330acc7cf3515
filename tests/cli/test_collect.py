"""``camrt collect``: report, wrong use, Ctrl-C, a full disk; and the evaluation of its store."""

import json
import os
import pty
import select
import subprocess

import pytest

from camrt.runtime.collect.manifest import NAME, read_manifest
from support import small_disk
from support.command import camrt, command, interrupt, refusal, started, succeeds
from support.desktop import eventually
from support.labelled_data import write_table
from support.many_images import rows_of, write_images
from support.needs import environment
from support.tiny_models import write_linear

pytestmark = pytest.mark.process

KEYS = {"rows", "skipped", "images_per_second", "engine", "workers"}
WITHIN_S = 300


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    return write_linear(tmp_path_factory.mktemp("model") / "model.onnx")


def test_collect_reports_as_json_and_names_what_was_left_out(model_file, tmp_path):
    paths = write_images(tmp_path / "data", 12)
    paths[2].unlink()
    paths[2].write_bytes(b"\xff\xd8\xff")
    (tmp_path / "data" / "notes.md").write_text("notes")
    done = camrt("collect", model_file, "data", "-o", "maps.parquet", "--json", "--provider", "cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert set(report) >= KEYS
    assert (report["rows"], report["skipped"], report["engine"], report["complete"]) == (12, 1, "processes", True)
    assert report["images_per_second"] > 0
    assert 0 < report["decode_share"] < 1
    assert "left out: notes.md (a text file)" in done.stderr
    assert f"no map: data/{paths[2].relative_to(tmp_path / 'data')} cannot be decoded" in done.stderr
    again = succeeds("collect", model_file, "data", "-o", "maps.parquet", "--provider", "cpu", cwd=tmp_path)
    assert again == "maps.parquet: 12 rows, 1 of them with an error instead of a map, 12 of an earlier run\n"


def test_the_store_is_evaluated_in_place_of_the_model(model_file, tmp_path):
    data = write_table(tmp_path / "data")
    words = "--provider", "cpu", "--workers", 1
    shown = succeeds("collect", model_file, data, "-o", "maps.parquet", *words, cwd=tmp_path)
    assert shown.startswith("maps.parquet: 2 rows\n")
    assert "images/s with 1 workers of" in shown
    done = camrt("eval", "maps.parquet", data, "--json", "--html", "page.html", "--csv", "images.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["images"], report["ms_per_image"], report["model"]) == (2, None, "maps.parquet")
    assert report["max_box_acc_v2"] is not None
    assert set(report["baselines"]) == {"centre_gaussian", "whole_image", "random"}
    assert (tmp_path / "page.html").read_text().count("data:image/jpeg") == 2
    compared = succeeds("eval", "maps.parquet", data, "--compare", model_file, cwd=tmp_path)
    assert "no clear difference" in compared
    table = camrt("eval", "maps.parquet", data, cwd=tmp_path)
    assert "ms per image" not in table.stdout
    assert "left out for stored maps: the cost, the baseline 'activation'" in table.stderr
    assert "is no map store" in refusal("eval", data, data, status=2, cwd=tmp_path)
    other = refusal("eval", "maps.parquet", data, "--head", "size", status=2, cwd=tmp_path)
    assert "maps.parquet has the maps of head None; leave out --head size" in other


def test_maps_of_real_photos_score_as_those_of_the_model(mobilenet, shared_data, tmp_path):
    """On 56 photos 1/56 is one image; energy is a mean of ratios, which levels of 1/255 hardly move."""
    photos = shared_data / "images_boxes"
    succeeds("collect", mobilenet, photos, "-o", "maps.parquet", "--provider", "cpu", cwd=tmp_path)
    stored = json.loads(succeeds("eval", "maps.parquet", photos, "--json", cwd=tmp_path))
    direct = json.loads(succeeds("eval", mobilenet, photos, "--json", "--provider", "cpu", cwd=tmp_path))
    assert (stored["images"], stored["skipped"]) == (56, [])
    assert (stored["top1"], stored["top5"]) == (direct["top1"], direct["top5"])
    assert stored["energy_in_box"] == pytest.approx(direct["energy_in_box"], abs=1e-3)
    for name in ("pointing_game", "max_box_acc", "max_box_acc_v2", "top1_box_acc", "box_acc_at_threshold"):
        assert stored[name] == pytest.approx(direct[name], abs=1.01 / 56), name


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["missing"], 2, "there is nothing at missing"),
        (["data/*.nothing"], 2, "matches no files"),
        (["data", "--every", "0"], 2, "every 0: at least 1"),
        (["data", "--workers", "0"], 2, "workers 0: at least 1"),
        (["data", "-o", "data"], 2, "data is a folder with other files"),
        (["data", "-o", "no/where"], 2, "there is no folder no"),
        (["data", "--classes", "missing.csv"], 2, "there is no file missing.csv"),
        (["empty"], 2, "there is no image in the inputs"),
        (["broken"], 1, "none of the 1 images could be read"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use_gives_one_line(words, status, message, model_file, tmp_path):
    write_images(tmp_path / "data", 2)
    (tmp_path / "data" / "a.txt").write_text("text")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.jpg").write_bytes(b"\xff\xd8\xff")
    output = [] if "-o" in words else ["-o", "maps.parquet"]
    assert message in refusal("collect", model_file, *words, *output, "--provider", "cpu", status=status, cwd=tmp_path)
    assert (tmp_path / "maps.parquet").exists() == (words == ["broken"])


def test_another_model_is_refused(model_file, tmp_path):
    write_images(tmp_path / "data", 2)
    other = write_linear(tmp_path / "other.onnx", seed=1)
    words = "data", "-o", "maps.parquet", "--provider", "cpu"
    succeeds("collect", model_file, *words, cwd=tmp_path)
    message = refusal("collect", other, *words, status=2, cwd=tmp_path)
    assert f"maps.parquet was begun with another model file, {model_file}" in message
    assert "start again with --overwrite" in message
    succeeds("collect", other, *words, "--overwrite", cwd=tmp_path)
    assert read_manifest(tmp_path / "maps.parquet").model == str(other)


def test_without_pyarrow_the_extra_is_named_before_the_work(model_file, tmp_path):
    (tmp_path / "pyarrow.py").write_text("raise ImportError('not here')")
    write_images(tmp_path / "data", 2)
    changes = {"PYTHONPATH": os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]])}
    done = camrt("collect", model_file, "data", "-o", "maps.parquet", cwd=tmp_path, **changes)
    assert done.returncode == 1
    assert "pip install 'camrt[judge]'" in done.stderr
    assert not (tmp_path / "maps.parquet").exists()


def test_ctrl_c_keeps_what_is_done(model_file, tmp_path):
    write_images(tmp_path / "data", 3000)
    store = tmp_path / "maps.parquet"
    words = "collect", model_file, "data", "-o", "maps.parquet", "--provider", "cpu"
    with started(*words, cwd=tmp_path) as process:
        assert eventually(lambda: any(store.glob("rows-*")), within_s=WITHIN_S)
        status, errors = interrupt(process)
    assert status == 1
    assert "camrt: stopped before the end; the same command goes on" in errors
    rows = rows_of(store).num_rows
    assert 512 <= rows < 3000
    assert {path.name for path in store.iterdir() if not path.name.startswith("rows-")} == {NAME}
    assert f"3000 rows, {rows} of an earlier run" in succeeds(*words, cwd=tmp_path)


def test_a_full_disk_is_one_error_and_the_run_goes_on_with_more_space(model_file, tmp_path):
    write_images(tmp_path / "data", 2500, kinds=1500)
    words = "collect", model_file, tmp_path / "data", "--provider", "cpu", "-o", "disk/maps.parquet"
    copied = ["sh", "-c", '"$@"; status=$?; cp -r disk/maps.parquet kept; exit $status', "sh", *command(*words)]
    done = small_disk.run(copied, tmp_path, size="250k")
    assert done.returncode == 1, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("camrt: ")]
    assert "No space left on device" in line
    assert "free some space and run the same command, which goes on" in line
    rows = rows_of(tmp_path / "kept").num_rows
    assert 0 < rows < 2500
    assert not [path for path in (tmp_path / "kept").iterdir() if path.name.startswith(".")]
    words = "collect", model_file, tmp_path / "data", "--provider", "cpu", "-o", "kept"
    assert f"2500 rows, {rows} of an earlier run" in succeeds(*words, cwd=tmp_path)


def test_a_terminal_shows_one_bar_with_rate_and_remaining_time(model_file, tmp_path):
    write_images(tmp_path / "data", 6000)
    ours, theirs = pty.openpty()
    shown = b""
    words = command("collect", model_file, "data", "-o", "maps.parquet", "--provider", "cpu")
    process = subprocess.Popen(words, cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    while b" left" not in shown and select.select([ours], [], [], WITHIN_S)[0]:
        shown += os.read(ours, 4096)
    process.kill()
    process.wait()
    os.close(ours)
    assert b"/6000 images  " in shown
    assert b" images/s  " in shown
