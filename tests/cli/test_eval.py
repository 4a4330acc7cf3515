"""``camrt eval``: table, JSON, CSV and page; broken images, unmatched classes and wrong use."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from support.command import camrt, refusal, started, succeeds
from support.desktop import eventually
from support.labelled_data import BOXES, write_folder, write_picture, write_table
from support.tiny_models import write_class_maps, write_linear

pytestmark = pytest.mark.process

KEYS = {
    *("images", "top1", "top5", "pointing_game", "max_box_acc", "max_box_acc_v2", "box_acc_at_threshold"),
    *("insertion_auc", "deletion_auc", "average_drop", "average_increase", "adcc", "road", "permuted_weights"),
    *("energy_in_box", "pxap", "ms_per_image", "confidence_interval", "baselines", "skipped", "threshold"),
}


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    return write_linear(tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture
def data(tmp_path):
    return write_table(tmp_path / "data")


def test_eval_reports_as_json_and_writes_a_table_of_images_and_a_page(model_file, data, tmp_path):
    (data / "images" / "boat.png").write_bytes(b"\x89PNG no more")
    write_picture(data / "images" / "second.png", BOXES["boat"])
    with (data / "boxes.csv").open("a") as file:
        file.write(f"images/second.png,Boat,{','.join(map(str, BOXES['boat']))}\n")
    flags = "--json", "--csv", tmp_path / "images.csv", "--html", tmp_path / "report.html", "--provider", "cpu"
    done = camrt("eval", model_file, data, *flags)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert set(report) >= KEYS
    assert (report["images"], report["pxap"]) == (2, None)
    assert [one["file"] for one in report["skipped"]] == ["images/boat.png"]
    measured = [
        name for name in ("top1", "pointing_game", "max_box_acc_v2", "energy_in_box") if report[name] is not None
    ]
    assert len(measured) == 4
    assert all(len(report["confidence_interval"][name]) == 2 for name in measured)
    faithful = "insertion_auc", "deletion_auc", "average_drop", "average_increase", "adcc", "road", "other_class"
    assert all(len(report["confidence_interval"][name]) == 2 for name in faithful)
    assert set(report["baselines"]["random"]) >= set(faithful)
    assert report["faithfulness"]["images"] == 2
    assert report["faithfulness"]["passes_per_image"] == 190
    assert set(report["baselines"]) == {"centre_gaussian", "whole_image", "random", "activation"}
    with (tmp_path / "images.csv").open(newline="") as file:
        assert [line["file"] for line in csv.DictReader(file)] == ["images/anchor.png", "images/second.png"]
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/jpeg") == 2
    assert "images/boat.png" in page
    assert "MaxBoxAccV2" in page
    assert "From insertion AUC on: 2 images" in page


def test_eval_measures_refined_maps_beside_the_plain_ones(model_file, data):
    flags = "--refine", "clamp,ivr", "--refine", "flip"
    shown = succeeds("eval", model_file, data, *flags)
    assert "model, clamp,ivr" in shown
    assert shown.count("95 % interval, paired") == 2
    report = json.loads(succeeds("eval", model_file, data, "--json", *flags))
    assert report["refine"] == "none"
    assert [one["refine"] for one in report["compared"]] == ["clamp,ivr", "flip"]
    assert "max_box_acc_v2" in report["compared"][0]["differences"]


def test_eval_refuses_refinements_before_it_evaluates(data, model_file, tmp_path):
    class_maps = write_class_maps(tmp_path / "maps.onnx")
    assert "needs the weights of a linear head" in refusal("eval", class_maps, data, "--refine", "pc1", status=2)
    assert "write none, or some of" in refusal("eval", model_file, data, "--refine", "sharp", status=2)


def test_eval_compares_models_on_the_same_images(model_file, data, tmp_path):
    other = write_class_maps(tmp_path / "other.onnx")
    shown = succeeds("eval", model_file, data, "--compare", other)
    assert "95 % interval, paired" in shown
    assert "no clear difference" in shown
    report = json.loads(succeeds("eval", model_file, data, "--compare", other, model_file, "--json"))
    second, same = report["compared"]
    difference = second["differences"]["energy_in_box"]
    assert difference["difference"] == pytest.approx(second["energy_in_box"] - report["energy_in_box"])
    assert not any(one["exceeds_interval"] for one in same["differences"].values())


@pytest.mark.input_kind(
    "labels",
    "a folder for each class, without boxes (eval)",
    "-",
    "classes and faithfulness; localization is refused by name",
)
def test_eval_shows_a_table_and_names_what_was_left_out(model_file, tmp_path):
    write_folder(tmp_path / "data")
    write_picture(tmp_path / "data" / "house" / "a.png", BOXES["boat"])
    (tmp_path / "data" / "boat" / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    refused = refusal("eval", model_file, tmp_path / "data", status=2)
    assert "does not know 1 classes" in refused
    assert "house" in refused
    done = camrt("eval", model_file, tmp_path / "data", "--allow-unmatched")
    assert done.returncode == 0
    assert "top-1" in done.stdout
    assert "localization needs: it is not measured" in done.stderr
    assert "deletion AUC, lower is better" in done.stdout
    assert "sanity: weights permuted, 0 is best" in done.stdout
    assert "2 images, 190 forward passes and" in done.stdout
    shorter = succeeds("eval", model_file, tmp_path / "data", "--allow-unmatched", "--faithfulness", "0")
    assert "deletion" not in shorter
    assert "no class for 'house' (1 images)" in done.stderr
    assert "cut.png" in done.stderr
    (tmp_path / "classes.csv").write_text("house,anchor\n")
    assert " on 3 images" in succeeds("eval", model_file, tmp_path / "data", "--classes", tmp_path / "classes.csv")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["missing"], 2, "there is nothing at missing"),
        (["data", "--format", "voc"], 2, "has no Pascal VOC XML"),
        (["data", "--classes", "missing.csv"], 2, "there is no file missing.csv"),
        (["data", "--resume", "no/where"], 2, "there is no folder"),
        (["data", "--resume", "data/boxes.csv"], 2, "is no file of partial results"),
        (["data", "--resume", "r.csv", "--csv", "r.csv"], 2, "is both a report and the file of --resume"),
        (["data", "--csv", "data"], 2, "is a folder"),
        (["data", "--html", "no/where.html"], 2, "there is no folder"),
        (["broken"], 1, "line 2: a box needs four numbers"),
    ],
)
def test_wrong_use_gives_one_line(arguments, status, message, model_file, data, tmp_path):
    broken = write_table(tmp_path / "broken")
    (broken / "boxes.csv").write_text("file,class,x0,y0,x1,y1\na.png,boat,1,2,3,x\n")
    assert message in refusal("eval", model_file, *arguments, status=status, cwd=tmp_path)


@pytest.mark.parametrize("number", ["some", "-1", "1.5", ""])
def test_a_wrong_number_of_images_is_refused(number, model_file, data):
    done = camrt("eval", model_file, data, "--faithfulness", number)
    assert done.returncode == 2
    assert f"{number!r} is neither a number of images nor 'all'" in done.stderr


TIMES = {"ms_per_image", "faithfulness"}


@pytest.mark.slow
def test_a_killed_eval_goes_on_where_it_stopped(model_file, tmp_path):
    """The same command again gives the values of an undisturbed one, and ends with the same files."""
    names = list(BOXES) * 12
    lines = ["file,class,x0,y0,x1,y1"]
    for number, name in enumerate(names):
        write_picture(tmp_path / "data" / f"{number}.png", BOXES[name])
        lines.append(f"{number}.png,{name},{','.join(map(str, BOXES[name]))}")
    (tmp_path / "data" / "boxes.csv").write_text("\n".join(lines) + "\n")
    other = write_class_maps(tmp_path / "other.onnx")
    first = Path(shutil.copy(model_file, tmp_path / "model.onnx"))
    flags = "eval", first, tmp_path / "data", "--compare", other, "--faithfulness", "all", "--json"
    whole = json.loads(succeeds(*flags))
    partial = tmp_path / "partial"
    sizes = [killed(flags, partial, fewest) for fewest in (3, 30)]  # in the first model and in the second
    assert sizes[0] < sizes[1] < 48
    content = first.read_bytes()
    write_linear(first, seed=3)
    refused = refusal(*flags, "--resume", partial, status=2)
    assert "was begun with another model file (1 of 2); delete it to begin again, or name another file" in refused
    first.write_bytes(content)
    done = camrt(*flags, "--resume", partial)
    assert done.returncode == 0, done.stderr
    assert f"{partial} has the results of {sizes[1]} images" in done.stderr
    assert without_times(json.loads(done.stdout)) == without_times(whole)
    assert not partial.exists()


def killed(flags, partial, fewest):
    """Kill an evaluation that has measured more images than ``fewest``; returns how many its file has."""
    with started(*flags, "--resume", partial) as process:
        assert eventually(lambda: partial.exists() and lines_of(partial) > fewest, within_s=300)
        process.kill()
    return lines_of(partial)


def lines_of(partial):
    return partial.read_bytes().count(b"\n") - 1


def without_times(report):
    compared = [without_times(one) for one in report.get("compared", [])]
    return {key: value for key, value in report.items() if key not in TIMES} | {"compared": compared}
