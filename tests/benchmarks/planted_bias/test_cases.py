"""Networks with one planted shortcut of each kind: the audit finds it."""

import pytest

from camrt.benchmarks.planted_bias.cases import Case, run
from camrt.benchmarks.planted_bias.images import SHAPES, Images, draw_scenes
from camrt.benchmarks.planted_bias.plants import PLANTS

EPOCHS = 12
pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.fixture(scope="module")
def scenes():
    return Images(SHAPES, draw_scenes(40, 5), draw_scenes(24, 6))


@pytest.mark.parametrize("plant", PLANTS)
def test_a_shortcut_that_the_network_uses_is_the_first_finding(plant, scenes, tmp_path):
    row = run(Case("scenes", "scratch", plant, 1.0, 5), scenes, tmp_path, epochs=EPOCHS)
    assert row["used"], row
    assert row["rank"] == 1, row


def test_a_clean_network_has_no_finding(scenes, tmp_path):
    row = run(Case("scenes", "scratch", None, 0.0, 5), scenes, tmp_path, epochs=EPOCHS)
    assert row["findings"] == [], row
