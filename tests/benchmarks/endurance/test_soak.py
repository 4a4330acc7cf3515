"""Three minutes of what is to go on for weeks, and many viewers for a moment."""

import json

import pytest

from camrt.benchmarks.endurance import load, soak
from camrt.benchmarks.report import tables
from support import REPOSITORY

DOCUMENT = REPOSITORY / "docs" / "performance.md"


@pytest.mark.process
@pytest.mark.slow
def test_after_losses_and_viewers_nothing_is_left_behind():
    found = soak.soak(soak.MODEL, 3.0)
    assert found["failures"] == []
    assert found["losses"] >= 6
    assert found["frames"] > 300
    assert found["passing"] > 30


def test_what_grows_or_stays_away_is_a_failure():
    samples = [
        {"time_s": 10.0 * n, "memory_mb": 200.0 + n, "threads": 12.0, "files": 14.0 + n // 20} for n in range(100)
    ]
    state = {"reconnects": 2, "frames": 1000}
    found = soak.verdict(samples, 16.0, 3, 50, state, still_watched=False)
    assert found["failures"] == [
        "memory_mb grew from 218.5 to 283.5",
        "files grew from 14 to 18",
        "the camera was lost 3 times and came back 2 times",
        "no more pictures at the end",
    ]


@pytest.mark.process
def test_viewers_and_cameras_are_measured_and_shown_as_a_table():
    rows = [load.measure(load.MODEL, 1, 3, 2.0), load.measure(load.MODEL, 2, 1, 2.0)]
    assert [(row["cameras"], row["viewers"]) for row in rows] == [(1, 3), (2, 1)]
    for row in rows:
        assert row["viewer_fps"] > 1
        assert row["camera_fps"]["drawn"] > 1
        assert 0 < row["cores"] <= 64
        assert row["memory_mb"] > 50
    assert 0 < rows[0]["delay_ms"] < 5000
    assert rows[1]["delay_ms"] is None
    lines = load.in_table(rows).splitlines()
    assert len(lines) == 4
    assert len({line.count("|") for line in lines}) == 1


def test_the_document_shows_what_is_committed():
    load_found, found = (
        json.loads((REPOSITORY / "docs" / f"{name}.json").read_text()) for name in ("load", "performance")
    )
    text = DOCUMENT.read_text()
    assert "<!-- measured: load -->" in text
    assert tables.fill(text, tables.of(found) | load.tables_of(load_found)) == text
