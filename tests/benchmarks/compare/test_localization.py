"""The benchmark of localization runs on a part of the photos, and the document shows the committed results."""

import hashlib
import json

import pytest

import camrt
from camrt.benchmarks.compare import localization
from camrt.benchmarks.compare.refinements import REFINEMENTS, is_for_choosing, measure_refinements, refinement_table
from camrt.benchmarks.report import tables
from camrt.runtime.evaluation.datasets.read import read_dataset
from camrt.runtime.evaluation.evaluate import evaluate
from support import REPOSITORY
from support.labelled_data import BOXES, write_picture
from support.tiny_models import write_class_maps, write_linear


def test_a_part_of_the_photos_gives_the_table(shared_data, tmp_path):
    rows = localization.measure(shared_data, tmp_path, images=4, faithfulness=1)
    assert [row["name"] for row in rows] == list(localization.NETWORKS)
    assert all(row["images"] == 4 for row in rows)
    assert all(row["faithfulness"]["images"] == 1 for row in rows)
    table = localization.localization_table(rows)
    assert "MaxBoxAccV2" in table
    assert f"**{rows[1]['max_box_acc_v2']:.3f}**" in table


def test_the_document_shows_the_committed_results():
    report = json.loads((REPOSITORY / "docs" / "localization.json").read_text(encoding="utf-8"))
    for name in ("localization.md", "cam-limits.md"):
        document = (REPOSITORY / "docs" / name).read_text(encoding="utf-8")
        assert tables.fill(document, localization.make_tables(report)) == document
    pointing = {row["name"]: row["pointing_game"] for row in report["networks"]}
    # SOURCES.md of the test data
    assert pointing["squeezenet11_caffe"] == pytest.approx(0.875)
    assert pointing["mobilenetv2_torchvision_qdq_int8"] == pytest.approx(0.839, abs=5e-4)


def test_the_split_is_that_of_the_hash_of_the_file_name():
    parts = {name: is_for_choosing(name) for name in ("a.jpg", "b.jpg", "c.jpg", "d.jpg")}
    assert parts == {name: int(hashlib.sha256(name.encode()).hexdigest()[:2], 16) % 2 == 0 for name in parts}
    assert is_for_choosing("folder/a.jpg") == is_for_choosing("a.jpg")


def test_refinements_are_measured_on_both_parts_against_the_plain_map(tmp_path):
    model = camrt.load(write_linear(tmp_path / "model.onnx"), provider="cpu")
    class_maps = camrt.load(write_class_maps(tmp_path / "maps.onnx"), provider="cpu")
    data = tmp_path / "data"
    data.mkdir()
    lines = ["file,class,x0,y0,x1,y1"]
    for number in range(8):
        box = 3 * number, 5, 3 * number + 20, 20 + 3 * number
        write_picture(data / f"{number}.png", box)
        lines.append(f"{number}.png,{list(BOXES)[number % len(BOXES)]},{','.join(map(str, box))}")
    (data / "boxes.csv").write_text("\n".join(lines) + "\n")
    dataset = read_dataset(data)
    report = measure_refinements({"as trained": model, "maps": class_maps}, dataset, rounds=1)
    json.dumps(report)
    assert report["photos"]["choosing"] + report["photos"]["reporting"] == 8
    variants = {(one["size"], one["refine"]): one for one in report["variants"]}
    assert {refine for size, refine in variants if size == "as trained"} == set(REFINEMENTS)
    assert {refine for size, refine in variants if size == "maps"} == {"none", "ivr", "flip", "ivr,flip"}
    plain = variants["as trained", "none"]
    assert plain["all"]["max_box_acc_v2"]["difference"] == 0
    assert plain["cost"] == 1
    for refine in ("none", "clamp,pc1,ivr,flip"):
        found = variants["as trained", refine]["all"]
        expected = evaluate(model, dataset, refine=refine)
        assert found["max_box_acc_v2"]["value"] == pytest.approx(expected.values["max_box_acc_v2"])
        assert found["box_acc_at_threshold"]["value"] == pytest.approx(expected.values["box_acc_at_threshold"])
    assert f"{report['photos']['choosing']} photos for choosing" in refinement_table(report)
    assert [one["limit"] for one in report["chosen"]] == sorted(one["limit"] for one in report["chosen"])


def test_the_document_names_the_best_variant_of_the_photos_for_choosing():
    report = json.loads((REPOSITORY / "docs" / "localization.json").read_text(encoding="utf-8"))
    for network in report["sharper"]:
        for chosen in network["chosen"]:
            allowed = [one for one in network["variants"] if one["cost"] <= chosen["limit"]]
            best = max(one["choosing"]["max_box_acc_v2"]["value"] for one in allowed)
            (named,) = (
                one for one in network["variants"] if (one["size"], one["refine"]) == (chosen["size"], chosen["refine"])
            )
            assert named["choosing"]["max_box_acc_v2"]["value"] == best
