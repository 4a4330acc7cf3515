"""Statistics of maps, on maps whose values are known."""

import numpy as np
import pytest

from camrt.runtime.maps.attention import centre_share, entropy, map_distance


def one_cell(rows, columns, row, column):
    cam = np.full((rows, columns), -1, np.float32)
    cam[row, column] = 3
    return cam


@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (7, 7), (12, 16), (1, 1), (3, 5)])
def test_even_evidence_has_a_quarter_in_the_centre_and_the_largest_entropy(rows, columns):
    cam = np.full((rows, columns), 2, np.float32)
    assert centre_share(cam) == pytest.approx(0.25)
    assert entropy(cam) == pytest.approx(1.0 if rows * columns > 1 else 0.0)


def test_one_cell_has_no_entropy_and_counts_by_its_part_in_the_centre():
    assert entropy(one_cell(7, 7, 3, 3)) == 0
    assert centre_share(one_cell(7, 7, 3, 3)) == pytest.approx(1)
    assert centre_share(one_cell(7, 7, 0, 3)) == 0
    # Row 1 of 7 lies from 1/7 to 2/7, of which 2/7 - 1/4 is in the centre.
    assert centre_share(one_cell(7, 7, 1, 3)) == pytest.approx(7 * (2 / 7 - 1 / 4), abs=1e-6)


def test_two_equal_cells_have_the_entropy_of_one_bit():
    cam = one_cell(4, 8, 1, 1)
    cam[2, 6] = 3
    assert entropy(cam) == pytest.approx(np.log(2) / np.log(32))


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_maps_without_positive_or_finite_evidence_have_no_statistics(value):
    cam = np.full((4, 4), value, np.float32)
    assert np.isnan(centre_share(cam))
    assert np.isnan(entropy(cam))


def test_statistics_do_not_depend_on_the_size_of_the_logits():
    cam = np.random.default_rng(0).normal(0, 1, (7, 7)).astype(np.float32)
    mean_map = np.random.default_rng(1).random((7, 7)).astype(np.float32)
    assert centre_share(cam * 8) == pytest.approx(centre_share(cam))
    assert entropy(cam * 8) == pytest.approx(entropy(cam))
    assert map_distance(cam * 8 + 1, mean_map) == pytest.approx(map_distance(cam, mean_map), abs=1e-6)
    assert map_distance(mean_map, mean_map) == pytest.approx(0, abs=1e-6)
    assert map_distance(-mean_map, mean_map) == pytest.approx(2, abs=1e-6)
