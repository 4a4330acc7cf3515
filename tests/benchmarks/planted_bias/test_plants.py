"""Plants, scenes and the summary of the benchmark of planted shortcuts."""

import numpy as np
import pytest

from camrt.benchmarks.planted_bias.__main__ import cases, summary
from camrt.benchmarks.planted_bias.cases import Case, planted
from camrt.benchmarks.planted_bias.images import SHAPES, SIDE, draw_scenes
from camrt.benchmarks.planted_bias.plants import PLANTS, RIGHT_KINDS
from camrt.runtime.audit.audit import KINDS


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
    row = {"plant": "border", "used": True, "rank": 1, "classes": 4, "classes_with_findings": 1}
    rows = [row, row | {"rank": 3}, row | {"rank": None}, row | {"used": False, "rank": None}]
    clean = row | {"plant": None, "used": False, "rank": None, "classes_with_findings": 0}
    found = summary([*rows, clean, clean | {"classes_with_findings": 1}])
    assert found == {
        "models": 6,
        "planted": 4,
        "used": 3,
        "first": 1,
        "first_three": 2,
        "clean_classes": 8,
        "clean_classes_with_findings": 1,
    }
