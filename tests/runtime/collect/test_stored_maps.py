"""Evaluation of stored maps: as of the model itself, within 256 levels of a map, and never of another image."""

import shutil

import numpy as np
import pytest

import camrt
from camrt.errors import SourceError
from camrt.images import read_image
from camrt.runtime.collect.collect import collect
from camrt.runtime.collect.rows import TOP
from camrt.runtime.collect.store import MapStore
from camrt.runtime.collect.stored_maps import StoredMaps
from camrt.runtime.evaluation.datasets.labelled import LabelledImage, Target
from camrt.runtime.evaluation.evaluate import evaluate
from support.labelled_data import BOXES, WRITERS, write_folder, write_picture, write_table
from support.tiny_models import LABELS, write_class_maps, write_linear

pytestmark = pytest.mark.process


@pytest.fixture(scope="module", params=[write_linear, write_class_maps], ids=["linear", "class_maps"])
def any_model(request, tmp_path_factory):
    return camrt.load(request.param(tmp_path_factory.mktemp("model") / "model.onnx"), provider="cpu")


def write_data(root, images=24):
    """Write images of one bright box each, named by a table."""
    random = np.random.default_rng(2)
    lines = ["file,class,x0,y0,x1,y1"]
    for number in range(images):
        x0, y0 = (int(edge) for edge in random.integers(0, 30, 2))
        box = x0, y0, x0 + int(random.integers(8, 30)), y0 + int(random.integers(8, 17))
        write_picture(root / "images" / f"{number}.png", box)
        lines.append(f"images/{number}.png,{LABELS[number % len(LABELS)]},{','.join(map(str, box))}")
    (root / "boxes.csv").write_text("\n".join(lines) + "\n")
    return root


def test_stored_maps_score_as_the_model_does(any_model, tmp_path):
    """A map has 256 levels, so its values err by 1/510 of its range, and a cut at such a value may move."""
    data = write_data(tmp_path / "data")
    store = collect(any_model, data, tmp_path / "maps.parquet", workers=1)
    direct, stored = evaluate(any_model, data, faithfulness=0), evaluate(StoredMaps(store), data)
    assert stored.values.keys() == direct.values.keys()
    for name in ("top1", "top5"):
        assert stored.values[name] == direct.values[name]
    assert stored.values["energy_in_box"] == pytest.approx(direct.values["energy_in_box"], abs=2e-3)
    for name, value in direct.values.items():
        assert stored.values[name] == pytest.approx(value, abs=1.01 / 24), name  # one image at the most
    for mine, theirs in zip(stored.per_image, direct.per_image, strict=True):
        assert mine["file"] == theirs["file"]
        assert mine["class_id"] == theirs["class_id"]
        assert mine["predicted"] == theirs["predicted"]
        assert mine["score"] == pytest.approx(theirs["score"], abs=1e-7)
    for name in ("centre_gaussian", "whole_image", "random"):
        assert stored.baselines[name] == direct.baselines[name]
    assert "activation" not in stored.baselines
    assert stored.ms_per_image is None
    assert "ms per image" not in stored.table()
    assert "left out for stored maps: the cost" in stored.remarks[0]


@pytest.mark.parametrize("form", ["folder", *WRITERS])
def test_every_form_of_labels_finds_its_rows(form, model, tmp_path):
    data = (write_folder if form == "folder" else WRITERS[form])(tmp_path / "data")
    store = collect(model, data, tmp_path / "maps.parquet", workers=1)
    stored = evaluate(StoredMaps(store), data)
    assert (stored.images, stored.skipped, stored.values["top1"]) == (2, [], evaluate(model, data).values["top1"])


def test_a_file_is_found_by_its_content_and_a_missing_one_by_its_path(model, tmp_path):
    for name, box in (("a/x.png", BOXES["boat"]), ("b/x.png", BOXES["anchor"])):
        write_picture(tmp_path / "here" / name, box)
    maps = StoredMaps(collect(model, tmp_path / "here", tmp_path / "maps.parquet", workers=1))

    def found(path):
        result = maps(maps.image_of(LabelledImage("x", path, ()), []))
        return result.class_id, result.scores[result.class_id]

    expected = {}
    for name in ("a", "b"):
        result = model(read_image(tmp_path / "here" / name / "x.png"))
        expected[name] = (result.class_id, result.scores[result.class_id])
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    (tmp_path / "there" / "a" / "x.png").rename(tmp_path / "there" / "renamed.png")
    assert found(tmp_path / "there" / "renamed.png") == expected["a"]
    shutil.copy(tmp_path / "here" / "b" / "x.png", tmp_path / "here" / "a" / "x.png")
    assert found(tmp_path / "here" / "a" / "x.png") == expected["b"]
    assert found(tmp_path / "nowhere" / "a" / "x.png") == expected["a"]
    with pytest.raises(SourceError, match=r"2 rows .* have this name, and the file is missing"):
        found(tmp_path / "nowhere" / "x.png")
    write_picture(tmp_path / "here" / "a" / "x.png", (1, 1, 3, 3))
    with pytest.raises(SourceError, match="has no row of this file; it is new, or has changed"):
        found(tmp_path / "here" / "a" / "x.png")


def test_a_class_without_a_stored_map_is_skipped_with_what_to_do(model, tmp_path):
    data = write_table(tmp_path / "data")
    store = collect(model, data / "images", tmp_path / "maps.parquet", workers=1)  # without the table: no classes
    predicted = {path.stem: model(read_image(path)).class_id for path in (data / "images").iterdir()}
    stored = [name for name, number in predicted.items() if LABELS[number] == name]
    if stored:
        evaluation = evaluate(StoredMaps(store), data)
        assert evaluation.images == len(stored)
        assert len(evaluation.skipped) == 2 - len(stored)
    else:
        with pytest.raises(SourceError, match=r"has no map of .* for it; collect again with these data as the input"):
            evaluate(StoredMaps(store), data)


def test_broken_images_are_skipped_with_the_reason_of_the_store(model, tmp_path):
    data = write_table(tmp_path / "data")
    (data / "images" / "boat.png").write_bytes(b"\x89PNG no more")
    store = collect(model, data, tmp_path / "maps.parquet", workers=1)
    evaluation = evaluate(StoredMaps(store), data)
    assert evaluation.images == 1
    assert "boat.png" in evaluation.skipped[0].reason


def test_a_result_has_the_stored_scores_and_maps_only(model, tmp_path):
    path = write_picture(tmp_path / "boat" / "a.png", BOXES["boat"])
    store = collect(model, tmp_path, tmp_path / "maps.parquet", workers=1)
    maps = StoredMaps(store)
    target = Target("boat")
    result = maps(maps.image_of(LabelledImage("a", path, (target,)), [(1,)]))
    direct = model(read_image(path))
    assert result.top(TOP) == direct.top(TOP)
    kept = {1, direct.class_id}
    for number in range(len(LABELS)):
        if number in kept:
            assert np.allclose(result.visible_cam(number), direct.visible_cam(number), atol=0.05)
        else:
            with pytest.raises(SourceError, match=f"the store has no map of '{LABELS[number]}'"):
                result.visible_cam(number)
    assert isinstance(store, MapStore)


def test_an_image_of_several_classes_has_the_map_of_each(model, tmp_path):
    write_picture(tmp_path / "data" / "a.png", BOXES["boat"])
    (tmp_path / "data" / "boxes.csv").write_text("file,class,x0,y0,x1,y1\na.png,boat,1,2,30,40\na.png,cup,1,2,9,9\n")
    store = collect(model, tmp_path / "data", tmp_path / "maps.parquet", workers=1)
    stored, direct = evaluate(StoredMaps(store), tmp_path / "data"), evaluate(model, tmp_path / "data")
    assert [line["class"] for line in stored.per_image] == ["boat", "cup"]
    assert stored.values["energy_in_box"] == pytest.approx(direct.values["energy_in_box"], abs=2e-3)
