"""The comparison of overlays: all alternatives draw the same image, and the script reports every case."""

import json
import sys

import numpy as np
import pytest

from camrt.benchmarks.compare import overlay
from camrt.geometry import Placement
from camrt.runtime.maps.overlay import paint


def test_all_alternatives_draw_the_same_image():
    random = np.random.default_rng(0)
    frame, heatmap = random.integers(0, 256, (120, 160, 3), np.uint8), random.random((7, 7), np.float32)
    heatmap = (heatmap - heatmap.min()) / (heatmap.max() - heatmap.min())
    camrt = paint(frame, heatmap, Placement(160, 120, (0, 0, 160, 120), (0.0, 0.0, 1.0, 1.0)), overlay.STYLE)
    usual, thrifty = overlay.usual_chain(frame, heatmap), overlay.ThriftyChain(frame)(frame, heatmap)
    # Both chains reduce the map to 256 levels, the thrifty one before it is resized.
    assert np.abs(camrt.astype(int) - usual).mean() < 2
    assert np.abs(camrt.astype(int) - thrifty).mean() < 2


@pytest.mark.parametrize("name", overlay.MAPS)
def test_maps_range_from_cold_to_hot(name):
    heatmap = overlay.synthetic_heatmap(name)
    assert heatmap.shape == (int(name.split()[1]),) * 2
    assert 0 <= heatmap.min() < 0.1
    assert 0.9 < heatmap.max() <= 1


@pytest.mark.parametrize("as_json", [True, False])
def test_script_reports_every_size_on_one_and_several_threads(as_json, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["overlay", "--rounds", "1", "--threads", "2", *(["--json"] if as_json else [])])
    monkeypatch.setattr(overlay, "SIZES", ((64, 48), (33, 7), (40, 40)))
    overlay.main()
    printed = capsys.readouterr().out
    if not as_json:
        assert "| 64x48, scene 7, 1 |" in printed
        return
    report = json.loads(printed)
    cases = [((64, 48), "scene 7"), ((33, 7), "scene 7"), ((40, 40), "scene 7")]
    cases += [(size, name) for name in overlay.MAPS[1:] for size in ((64, 48), (40, 40))]
    assert [(tuple(row["frame"]), row["map"], row["threads"]) for row in report["overlay"]] == [
        (*case, threads) for threads in (1, 2) for case in cases
    ]
    for row in report["overlay"]:
        assert all(ms > 0 for ms in row["ms"].values())
        assert set(row["speedup"]) == set(row["ms"]) - {"camrt"}
        assert row["speedup"]["thrifty"] > 0
    assert report["machine"]["cores"] >= 1
