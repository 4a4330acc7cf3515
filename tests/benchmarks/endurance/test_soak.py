"""A soak test of 80 seconds, and a short load test with several viewers and cameras."""

import json

import pytest

from camrt.benchmarks.endurance import load, soak
from camrt.benchmarks.report import tables
from camrt.runtime.assets import DEMO_MODEL
from support import REPOSITORY

DOCUMENT = REPOSITORY / "docs" / "performance.md"


@pytest.mark.process
@pytest.mark.slow
def test_soak_with_losses_and_changing_viewers_has_no_leaks():
    report = soak.soak(DEMO_MODEL, 1.3)
    assert report["failures"] == []
    assert report["losses"] >= 3
    assert report["frames"] > 130
    assert report["passing"] > 12


def test_growth_and_missing_reconnections_are_failures():
    samples = [
        {"time_s": 10.0 * n, "memory_mb": 200.0 + n, "threads": 12.0, "files": 14.0 + n // 20} for n in range(100)
    ]
    state = {"reconnects": 2, "frames": 1000}
    report = soak.evaluate_samples(samples, 16.0, 3, 50, state, receiving=False)
    assert report["failures"] == [
        "memory_mb grew from 218.5 to 283.5",
        "files grew from 14 to 18",
        "the camera was lost 3 times and reconnected 2 times",
        "no images arrived at the end",
    ]


@pytest.mark.process
def test_viewers_and_cameras_are_measured_and_printed_as_a_table():
    rows = [load.measure(DEMO_MODEL, 1, 3, 2.0), load.measure(DEMO_MODEL, 2, 1, 2.0)]
    assert [(row["cameras"], row["viewers"]) for row in rows] == [(1, 3), (2, 1)]
    for row in rows:
        assert row["viewer_fps"] > 1
        assert row["camera_fps"]["drawn"] > 1
        assert 0 < row["cores"] <= 64
        assert row["memory_mb"] > 50
    assert 0 < rows[0]["delay_ms"] < 5000
    assert rows[1]["delay_ms"] is None
    lines = load.load_table(rows).splitlines()
    assert len(lines) == 4
    assert len({line.count("|") for line in lines}) == 1


def test_document_shows_the_committed_results():
    report = json.loads((REPOSITORY / "docs" / "load.json").read_text())
    text = DOCUMENT.read_text()
    assert "<!-- measured: load -->" in text
    assert tables.fill(text, load.make_tables(report)) == text
