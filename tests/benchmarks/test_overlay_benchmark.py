"""The comparison of overlays: the alternatives draw the same picture, and the script reports what it says it does."""

import json
import sys

import numpy as np
import pytest

from camrt.benchmarks import overlay
from camrt.benchmarks.interleave import interleave
from camrt.runtime.geometry import Placement
from camrt.runtime.overlay import OverlayStyle, paint


def test_what_is_compared_draws_the_same_picture():
    random = np.random.default_rng(0)
    frame, heatmap = random.integers(0, 256, (120, 160, 3), np.uint8), random.random((7, 7), np.float32)
    heatmap = (heatmap - heatmap.min()) / (heatmap.max() - heatmap.min())
    own = paint(frame, heatmap, Placement(160, 120, (0, 0, 160, 120), (0.0, 0.0, 1.0, 1.0)), OverlayStyle())
    usual, thrifty = overlay.usual_chain(frame, heatmap), overlay.ThriftyChain(frame)(frame, heatmap)
    # Both chains cut the heatmap to 256 levels, the thrifty one before it is resized.
    assert np.abs(own.astype(int) - usual).mean() < 2
    assert np.abs(own.astype(int) - thrifty).mean() < 2


def test_alternatives_take_turns():
    calls = []
    seconds = interleave({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2)
    assert calls == ["a", "b"] * 3  # the first time is not measured
    assert {name: len(times) for name, times in seconds.items()} == {"a": 2, "b": 2}


@pytest.mark.parametrize("as_json", [True, False])
def test_the_script_reports_every_size_on_one_thread_and_on_more(as_json, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["overlay", "--rounds", "1", "--threads", "2", *(["--json"] if as_json else [])])
    monkeypatch.setattr(overlay, "SIZES", ((64, 48), (33, 7)))
    overlay.main()
    printed = capsys.readouterr().out
    if not as_json:
        assert "64x48" in printed
        return
    report = json.loads(printed)
    assert [(result["frame"], result["threads"]) for result in report["results"]] == [
        *(([64, 48], 1), ([33, 7], 1), ([64, 48], 2), ([33, 7], 2)),
    ]
    for result in report["results"]:
        assert all(ms > 0 for ms in result["ms"].values())
        assert result["speedup"]["camrt"]["thrifty"] > 0
    assert report["machine"]["cores"] >= 1
