"""Rotated files get numbers that only grow, and other files stay."""

import errno

import pytest

from camrt.errors import DiskFull, SinkError
from camrt.runtime.sinks.rotation import Series
from support.failing import failing


def add(series, path, text):
    path.write_text(text)
    series.add(path)


def texts(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def test_numbers_grow_when_files_are_moved_away(tmp_path):
    (tmp_path / "archive").mkdir()
    path = tmp_path / "seen.jsonl"
    series = Series(path, 10**6)
    for text in "abc":
        add(series, path, text)
        for file in tmp_path.glob("seen.0*"):
            file.rename(tmp_path / "archive" / file.name)
    assert texts(tmp_path / "archive") == {f"seen.00000{n}.jsonl": text for n, text in enumerate("abc", 1)}


def test_the_next_run_continues_the_numbers(tmp_path):
    path = tmp_path / "seen.jsonl"
    (tmp_path / "seen.000041.jsonl").write_text("old")
    add(Series(path, None), path, "new")
    assert texts(tmp_path) == {"seen.000041.jsonl": "old", "seen.000042.jsonl": "new"}


def test_numbers_grow_beyond_a_million(tmp_path):
    path = tmp_path / "seen.jsonl"
    (tmp_path / "seen.999999.jsonl").write_text("a")
    add(Series(path, None), path, "b")
    add(Series(path, None), path, "c")
    assert texts(tmp_path) == {"seen.999999.jsonl": "a", "seen.1000000.jsonl": "b", "seen.1000001.jsonl": "c"}


@pytest.mark.parametrize("name", ["seen.20251124.jsonl", "seen.00001.jsonl", "seen.0000001.jsonl", "seen.000001.mp4"])
def test_files_with_similar_names_are_neither_counted_nor_removed(tmp_path, name):
    path = tmp_path / "seen.jsonl"
    (tmp_path / name).write_text("precious" * 100)
    add(Series(path, 10), path, "a")
    assert texts(tmp_path) == {name: "precious" * 100, "seen.000001.jsonl": "a"}


def test_a_file_that_vanishes_during_rotation_is_no_error(tmp_path):
    path = tmp_path / "seen.jsonl"
    (tmp_path / "seen.000001.jsonl").symlink_to(tmp_path / "gone")
    add(Series(path, 1), path, "a")
    assert texts(tmp_path) == {"seen.000002.jsonl": "a"}


@pytest.mark.parametrize(("error", "kind"), [(errno.ENOSPC, DiskFull), (errno.EACCES, SinkError)])
def test_a_failed_rotation_keeps_the_file_and_can_be_repeated(tmp_path, monkeypatch, error, kind):
    path = tmp_path / "seen.jsonl"
    series = Series(path, 10)
    with failing(monkeypatch, "rename", error), pytest.raises(SinkError, match=r"seen\.jsonl cannot") as raised:
        add(series, path, "a")
    assert raised.type is kind
    assert texts(tmp_path) == {"seen.jsonl": "a"}
    series.add(path)
    assert texts(tmp_path) == {"seen.000001.jsonl": "a"}


def test_rotation_fails_if_the_oldest_file_cannot_be_removed(tmp_path, monkeypatch):
    path = tmp_path / "seen.jsonl"
    series = Series(path, 1)
    add(series, path, "a")
    with failing(monkeypatch, "unlink", errno.EPERM), pytest.raises(SinkError):
        add(series, path, "b")
    assert texts(tmp_path) == {"seen.000001.jsonl": "a", "seen.jsonl": "b"}
    series.add(path)
    assert texts(tmp_path) == {"seen.000002.jsonl": "b"}
