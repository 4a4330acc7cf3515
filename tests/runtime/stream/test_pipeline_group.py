"""Pipelines of several cameras run independently: one that ends or fails does not stop the others."""

import threading
import time

import numpy as np
import pytest

from camrt.errors import SourceError
from camrt.runtime.frames import Frame
from camrt.runtime.render.display_settings import DisplaySettings, SettingsStore
from camrt.runtime.sinks.events import EventSink
from camrt.runtime.sinks.shared import SharedSink
from camrt.runtime.stream.pipeline import Pipeline, Summary
from camrt.runtime.stream.pipeline_group import PipelineGroup
from support.events import read_events


class Shades:
    """A source of ``count`` frames of one shade."""

    fps = None
    live = False

    def __init__(self, name, count, shade=0, *, fails_at=None):
        self.name, self.frame_count, self.problems = name, count, []
        self._shade, self._fails_at, self._next = shade, fails_at, 0

    def read(self):
        if self._next == self._fails_at:
            raise SourceError("the cable came off")
        if self._next == self.frame_count:
            return None
        self._next += 1
        return Frame(np.full((24, 32, 3), self._shade, np.uint8), self._next - 1, 0.0, self.name)

    def close(self):
        pass


def ignore(*_):
    time.sleep(0.01)


def streams(model, sources, listeners=()):
    settings = SettingsStore(DisplaySettings())
    return PipelineGroup([Pipeline(model, source, settings, listeners=listeners) for source in sources])


def test_a_pipeline_that_ends_or_fails_does_not_stop_the_others(model):
    indices_by_source = [[], [], []]
    sources = [Shades("a", 5), Shades("b", 50, fails_at=3), Shades("c", 40)]
    failures = []
    outcomes = streams(model, sources).run(
        lambda number, item: indices_by_source[number].append(item.frame.index),
        ignore,
        lambda number, error: failures.append((number, str(error))),
    )
    assert failures == [(1, "the cable came off")]
    assert [len(indices) for indices in (indices_by_source[0], indices_by_source[2])] == [5, 40]
    assert isinstance(outcomes[0], Summary)
    assert isinstance(outcomes[1], SourceError)
    assert outcomes[2].frames == 40


def test_stop_ends_all_pipelines_and_their_threads(model):
    before = set(threading.enumerate())
    running = streams(model, [Shades("a", -1), Shades("b", -1)])
    threading.Timer(0.3, running.stop).start()
    turns = []
    outcomes = running.run(ignore, lambda: turns.append(time.sleep(0.01)), ignore)
    assert all(outcome.stopped and outcome.frames for outcome in outcomes)
    assert turns
    assert set(threading.enumerate()) <= before


def test_an_error_in_the_calling_thread_stops_all_pipelines(model):
    def meanwhile():
        raise KeyboardInterrupt

    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        streams(model, [Shades("a", -1), Shades("b", -1)]).run(ignore, meanwhile, ignore)
    assert set(threading.enumerate()) <= before


def test_all_pipelines_write_one_log_until_the_last_closes_it(model, tmp_path):
    log = SharedSink(EventSink(tmp_path / "e.jsonl"), 3)
    streams(model, [Shades("a", 5), Shades("b", 30), Shades("c", 60)], [log]).run(ignore, ignore, ignore)
    events = read_events(tmp_path / "e.jsonl")
    assert {name: sum(event["source"] == name for event in events) for name in "abc"} == {"a": 5, "b": 30, "c": 60}
