"""What is set aside gets numbers that only grow, and what is not ours stays."""

import errno

import pytest

from camrt.errors import DiskFull, SinkError
from camrt.runtime.sinks.rotation import Series
from support.failing import failing


def set_aside(series, path, text):
    path.write_text(text)
    series.set_aside(path)


def texts(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def test_numbers_grow_also_when_an_archiver_takes_the_files_away(tmp_path):
    (tmp_path / "archive").mkdir()
    path = tmp_path / "seen.jsonl"
    series = Series(path, 10**6)
    for text in "abc":
        set_aside(series, path, text)
        for file in tmp_path.glob("seen.0*"):
            file.rename(tmp_path / "archive" / file.name)
    assert texts(tmp_path / "archive") == {f"seen.00000{n}.jsonl": text for n, text in enumerate("abc", 1)}


def test_the_next_run_goes_on_behind_what_is_there(tmp_path):
    path = tmp_path / "seen.jsonl"
    (tmp_path / "seen.000041.jsonl").write_text("old")
    set_aside(Series(path, None), path, "new")
    assert texts(tmp_path) == {"seen.000041.jsonl": "old", "seen.000042.jsonl": "new"}


def test_a_million_files_are_not_the_end(tmp_path):
    path = tmp_path / "seen.jsonl"
    (tmp_path / "seen.999999.jsonl").write_text("a")
    set_aside(Series(path, None), path, "b")
    set_aside(Series(path, None), path, "c")
    assert texts(tmp_path) == {"seen.999999.jsonl": "a", "seen.1000000.jsonl": "b", "seen.1000001.jsonl": "c"}


@pytest.mark.parametrize("name", ["seen.20251124.jsonl", "seen.00001.jsonl", "seen.0000001.jsonl", "seen.000001.mp4"])
def test_what_only_looks_like_ours_is_neither_counted_nor_removed(tmp_path, name):
    path = tmp_path / "seen.jsonl"
    (tmp_path / name).write_text("precious" * 100)
    set_aside(Series(path, 10), path, "a")
    assert texts(tmp_path) == {name: "precious" * 100, "seen.000001.jsonl": "a"}


def test_a_file_that_is_moved_away_at_that_moment_is_no_error(tmp_path):
    path = tmp_path / "seen.jsonl"
    (tmp_path / "seen.000001.jsonl").symlink_to(tmp_path / "gone")
    set_aside(Series(path, 1), path, "a")
    assert texts(tmp_path) == {"seen.000002.jsonl": "a"}


@pytest.mark.parametrize(("error", "kind"), [(errno.ENOSPC, DiskFull), (errno.EACCES, SinkError)])
def test_what_cannot_be_set_aside_stays_and_is_tried_again(tmp_path, monkeypatch, error, kind):
    path = tmp_path / "seen.jsonl"
    series = Series(path, 10)
    with failing(monkeypatch, "rename", error), pytest.raises(SinkError, match=r"seen\.jsonl cannot") as raised:
        set_aside(series, path, "a")
    assert raised.type is kind
    assert texts(tmp_path) == {"seen.jsonl": "a"}
    series.set_aside(path)
    assert texts(tmp_path) == {"seen.000001.jsonl": "a"}


def test_where_the_oldest_cannot_be_removed_nothing_is_set_aside(tmp_path, monkeypatch):
    path = tmp_path / "seen.jsonl"
    series = Series(path, 1)
    set_aside(series, path, "a")
    with failing(monkeypatch, "unlink", errno.EPERM), pytest.raises(SinkError):
        set_aside(series, path, "b")
    assert texts(tmp_path) == {"seen.000001.jsonl": "a", "seen.jsonl": "b"}
    series.set_aside(path)
    assert texts(tmp_path) == {"seen.000002.jsonl": "b"}
