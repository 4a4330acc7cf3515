"""Each line of an event log is one frame in strict JSON, and is complete as soon as it is written."""

import errno
import json
import os
import resource
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest

from camrt.errors import DiskFull, SinkError, UsageError
from camrt.runtime.frames import Frame, StreamItem
from camrt.runtime.sinks import EventSink, Rotation
from support.failing import failing
from support.needs import environment
from support.overlays import gradient_image
from support.tiny_models import LABELS


def classified_item(model, index=3, name="camera 0"):
    """Return an item with a result, as the pipeline passes it to a sink."""
    frame = Frame(gradient_image(), index, 0.125, name)
    stages = {"preprocess": 0.5, "inference": 2.25, "cam": 0.125, "overlay": 0.25}
    result = model(frame.image)
    return StreamItem(frame, result, index - 1, classes=(result.class_id,), stages_ms=stages)


def parse_strict(line):
    """Parse JSON, without the constants that only Python accepts, such as NaN."""
    return json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def test_a_line_has_frame_time_classes_and_boxes(tmp_path, model):
    sink = EventSink(tmp_path / "events.jsonl")
    item = classified_item(model)
    sink.write(item)
    event = parse_strict(
        (tmp_path / "events.jsonl").read_text()
    )  # before close, because other programs follow the file
    assert (event["frame"], event["time"], event["source"], event["result_frame"]) == (3, 0.125, "camera 0", 2)
    assert event["stages_ms"] == {"preprocess": 0.5, "inference": 2.25, "cam": 0.125, "overlay": 0.25}
    best = item.result.top(len(LABELS))
    assert [(top["class_id"], top["label"]) for top in event["top"]] == [
        (class_id, label) for class_id, label, _ in best
    ]
    assert [top["score"] for top in event["top"]] == pytest.approx([score for *_, score in best], abs=1e-6)
    assert event["boxes"] == [pytest.approx(box, abs=1e-6) for box in item.result.boxes()]
    sink.close()


@pytest.mark.parametrize("name", ['猫 "\n', "caf\udce9", "a\x1b[2J\u2028b"])
def test_each_frame_is_one_line(tmp_path, model, name):
    sink = EventSink(tmp_path / "events.jsonl")
    for index in range(5):
        sink.write(classified_item(model, index, name=name))
    sink.close()
    sink.close()
    events = [parse_strict(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [event["frame"] for event in events] == [0, 1, 2, 3, 4]
    assert events[0]["source"] == name


def test_scores_that_are_not_finite_are_null(tmp_path, model):
    item = classified_item(model)
    item.result.scores[:] = [np.nan, np.inf, -np.inf, 0.5]
    sink = EventSink(tmp_path / "events.jsonl")
    sink.write(item)
    sink.close()
    event = parse_strict((tmp_path / "events.jsonl").read_text())
    assert {top["class_id"]: top["score"] for top in event["top"]} == {0: None, 1: None, 2: None, 3: 0.5}


def test_a_dash_writes_to_the_standard_output(capsys, model):
    sink = EventSink("-")
    sink.write(classified_item(model))
    sink.close()
    assert parse_strict(capsys.readouterr().out)["frame"] == 3


def test_an_existing_log_is_replaced_only_with_overwrite(tmp_path, model):
    path = tmp_path / "events.jsonl"
    path.write_text("precious")
    with pytest.raises(UsageError, match=r"exists; .*--overwrite"):
        EventSink(path)
    assert path.read_text() == "precious"
    sink = EventSink(path, overwrite=True)
    sink.write(classified_item(model))
    sink.close()
    assert parse_strict(path.read_text())["frame"] == 3


def test_without_a_frame_there_is_no_file(tmp_path):
    EventSink(tmp_path / "events.jsonl").close()
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_path_is_an_error_at_once(tmp_path):
    with pytest.raises(SinkError, match="cannot be written: No such file or directory"):
        EventSink(tmp_path / "nowhere" / "events.jsonl")
    with pytest.raises(UsageError, match="is a folder"):
        EventSink(tmp_path, overwrite=True)


def test_a_line_without_a_signal_has_the_reason(tmp_path):
    frame = Frame(gradient_image(), 7, 1000.5, "camera 0", lost="no frame for 5 s; trying again in 2 s")
    sink = EventSink(tmp_path / "events.jsonl")
    sink.write(StreamItem(frame, None, 7))
    sink.close()
    assert parse_strict((tmp_path / "events.jsonl").read_text()) == {
        "frame": 7,
        "result_frame": 7,
        "time": 1000.5,
        "source": "camera 0",
        "lost": "no frame for 5 s; trying again in 2 s",
        "width": 64,
        "height": 48,
        "top": [],
        "explained": [],
        "boxes": [],
        "box_ids": [],
        "objects": 0,
        "stages_ms": {},
    }


def test_rotation_loses_no_line_and_removes_files_beyond_keep(tmp_path, model):
    path = tmp_path / "events.jsonl"
    sink = EventSink(path, rotation=Rotation(size=2000, keep=10**6))
    for index in range(50):
        sink.write(classified_item(model, index))
    sink.close()
    logs = [*sorted(tmp_path.glob("events.0*.jsonl")), path]
    assert len(logs) > 5
    assert all(log.stat().st_size <= 2000 for log in logs)
    events = [parse_strict(line) for log in logs for line in log.read_text().splitlines()]
    assert [event["frame"] for event in events] == list(range(50))

    sink = EventSink(path, rotation=Rotation(size=2000, keep=5000), resume=True)
    for index in range(50, 100):
        sink.write(classified_item(model, index))
    sink.close()
    logs = [*sorted(tmp_path.glob("events.0*.jsonl")), path]
    assert 2000 < sum(log.stat().st_size for log in logs[:-1]) <= 5000
    frames = [parse_strict(line)["frame"] for log in logs for line in log.read_text().splitlines()]
    assert frames == list(range(100 - len(frames), 100))  # the newest, without a gap


@pytest.mark.parametrize("call", ["rename", "fsync"])
def test_a_failed_rotation_loses_no_line(tmp_path, model, monkeypatch, call):
    path = tmp_path / "events.jsonl"
    sink = EventSink(path, rotation=Rotation(size=4000, keep=10**6))
    count = 0
    with failing(monkeypatch, call, errno.ENOSPC):
        with suppress(DiskFull):
            while True:
                sink.write(classified_item(model, count))
                count += 1
        with pytest.raises(DiskFull):  # as for another camera that writes to this log
            sink.write(classified_item(model, count))
    assert count > 3
    sink.write(classified_item(model, count))
    sink.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["events.000001.jsonl", "events.jsonl"]
    older, newer = (
        [parse_strict(line)["frame"] for line in file.read_text().splitlines()] for file in sorted(tmp_path.iterdir())
    )
    assert (older, newer) == (list(range(count)), [count])


@pytest.mark.parametrize(
    ("text", "complete"), [('{"frame": 1}\n{"fra', '{"frame": 1}\n'), ('{"frame": 1', ""), ("", "")]
)
def test_a_resumed_log_drops_an_incomplete_last_line(tmp_path, model, text, complete):
    path = tmp_path / "events.jsonl"
    path.write_text(text)
    sink = EventSink(path, rotation=Rotation(size=10**6, keep=10**6), resume=True)
    sink.write(classified_item(model))
    sink.close()
    assert path.read_text().startswith(complete)
    assert [parse_strict(line)["frame"] for line in path.read_text().splitlines()] == [*([1] if complete else []), 3]


@pytest.mark.parametrize("data", ["a letter without a line's end", "x" * 2_000_000])
def test_a_file_that_is_not_a_log_is_not_resumed(tmp_path, data):
    path = tmp_path / "events.jsonl"
    path.write_text(data)
    with pytest.raises(SinkError, match="is not an event log and cannot be continued"):
        EventSink(path, rotation=Rotation(size=10**6, keep=10**6), resume=True)
    assert path.read_text() == data


def test_a_pipe_is_never_rotated(tmp_path, model):
    os.mkfifo(tmp_path / "pipe")
    reading = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    sink = EventSink(tmp_path / "pipe", rotation=Rotation(size=100, keep=100))
    for index in range(5):
        sink.write(classified_item(model, index))
    sink.close()
    with os.fdopen(reading) as pipe:
        assert [parse_strict(line)["frame"] for line in pipe] == list(range(5))
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


SCRIPT = """
import sys
import camrt
from camrt.errors import SinkError
from camrt.runtime.frames import Frame, StreamItem
from camrt.runtime.sinks import EventSink
from support.overlays import gradient_image
model = camrt.load(sys.argv[1], "cpu")
sink = EventSink(sys.argv[2])
frame = Frame(gradient_image(), 0, 0.0, "camera 0")
try:
    for index in range(2000):
        sink.write(StreamItem(frame, model(frame.image), index))
except SinkError as error:
    print(error, file=sys.stderr)
sink.close()
"""


@pytest.mark.process
def test_a_full_disk_leaves_only_complete_lines(tmp_path, model):
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, model.path, "events.jsonl"],
        cwd=tmp_path,
        env=environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0
    assert "events.jsonl cannot be written: the disk is full" in run.stderr
    lines = (tmp_path / "events.jsonl").read_text().splitlines(keepends=True)
    assert len(lines) > 10
    assert all(line.endswith("\n") and parse_strict(line) for line in lines)


@pytest.mark.process
def test_a_closed_pipe_is_an_error_without_traceback(model):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        run = subprocess.run(
            [sys.executable, "-c", SCRIPT, model.path, "-"],
            env=environment(),
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert run.returncode == 0
    assert run.stderr == "the events cannot be written to the standard output: Broken pipe\n"
