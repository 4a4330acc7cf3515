"""Plants, scenes and the summary of the benchmark of planted shortcuts."""

import json

import numpy as np
import pytest

from camrt.benchmarks.planted_bias.__main__ import cases, make_tables, summary
from camrt.benchmarks.planted_bias.cases import Case, planted
from camrt.benchmarks.planted_bias.images import SHAPES, SIDE, draw_scenes
from camrt.benchmarks.planted_bias.plants import PLANTS, RIGHT_KINDS
from camrt.benchmarks.report.tables import fill
from camrt.runtime.audit.audit import KINDS
from support import REPOSITORY


@pytest.mark.parametrize("name", PLANTS)
@pytest.mark.parametrize("shape", [(128, 128, 3), (97, 150, 3)])
def test_a_plant_changes_a_copy_of_the_image(name, shape):
    image = np.full(shape, 90, np.uint8)
    image[::3, ::2] = 160
    before = image.copy()
    done = PLANTS[name](image, np.random.default_rng(0))
    np.testing.assert_array_equal(image, before)
    assert (done.shape, done.dtype) == (shape, np.uint8)
    assert (done != image).any()
    assert set(RIGHT_KINDS[name]) <= set(KINDS)


def test_a_plant_goes_into_the_stated_share_of_one_class():
    split = draw_scenes(100, 0)
    assert split.images[0].shape == (SIDE, SIDE, 3)
    done = planted(split, "border", 3, 0.6, 1)
    changed = [
        number
        for number, before, after in zip(split.classes, split.images, done.images, strict=True)
        if (before != after).any()
    ]
    assert set(changed) == {3}
    assert 45 <= len(changed) <= 75
    assert len(planted(split, None, 3, 1.0, 1).images) == 100 * len(SHAPES)


def test_the_table_has_enough_models_of_each_kind():
    every = cases()
    assert len(every) >= 24
    assert {case.plant for case in every} == {*PLANTS, None}
    assert {case.strength for case in every if case.plant} == {0.6, 0.8, 1.0}
    assert len({case.name for case in every}) == len(every)
    assert Case("scenes", "scratch", None) not in every  # that seed was used to choose the limits


def test_the_summary_counts_used_shortcuts_and_clean_classes():
    repair = {"with_before": 0.9, "without_before": 0.1, "without_after": 0.5}
    kept, lost = ({**repair, "others_before": 0.9, "others_after": after} for after in (0.895, 0.8))
    row = {"plant": "border", "used": True, "rank": 1, "classes": 4, "classes_with_findings": 1, "repair": kept}
    unrepaired = {"rank": None, "repair": None}
    rows = [row, row | {"rank": 3, "repair": lost}, row | unrepaired, row | unrepaired | {"used": False}]
    clean = row | unrepaired | {"plant": None, "used": False, "classes_with_findings": 0}
    found = summary([*rows, clean, clean | {"classes_with_findings": 1}])
    assert found == {
        "models": 6,
        "planted": 4,
        "used": 3,
        "first": 1,
        "first_three": 2,
        "clean_classes": 8,
        "clean_classes_with_findings": 1,
        "repairs": 2,
        "half_recovered": 2,
        "one_point_lost": 1,
        "both": 1,
    }


def test_the_documents_show_the_stored_report():
    report = json.loads((REPOSITORY / "docs" / "planted_bias.json").read_text())
    document = (REPOSITORY / "docs" / "audit.md").read_text()
    assert fill(document, make_tables(report)) == document
    assert report["summary"] == summary(report["rows"])
