"""An evaluation that was killed goes on from its file, with the same result; files of other evaluations are refused."""

import math
import os
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest

import camrt
from camrt.errors import UsageError
from camrt.runtime.evaluation.datasets.read import read_dataset
from camrt.runtime.evaluation.evaluate import evaluate
from camrt.runtime.evaluation.metrics import METRICS
from camrt.runtime.evaluation.partial_results import ImageScores, PartialResults, settings_of
from support.tiny_models import write_linear

SETTINGS = {"model file": "1", "state of the data": "2"}


@pytest.fixture
def data(tmp_path):
    """Six images with boxes, one of them broken, and masks."""
    random = np.random.default_rng(2)
    lines = ["file,class,x0,y0,x1,y1,mask"]
    for number in range(6):
        image = cv2.resize(random.integers(0, 256, (5, 6, 3), np.uint8), (60, 50), interpolation=cv2.INTER_CUBIC)
        assert cv2.imwrite(str(tmp_path / f"{number}.png"), image)
        mask = np.zeros((50, 60), np.uint8)
        mask[10 : 20 + number, 5 : 30 + number] = 255
        assert cv2.imwrite(str(tmp_path / f"{number}_mask.png"), mask)
        lines.append(f"{number}.png,{('boat', 'cup')[number % 2]},5,10,{30 + number},{20 + number},{number}_mask.png")
    (tmp_path / "3.png").write_bytes(b"\x89PNG no more")
    (tmp_path / "boxes.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def without_times(found):
    report = {**found.as_dict(), "ms_per_image": None, "faithfulness": None}
    lines = [{key: value for key, value in line.items() if key != "ms"} for line in found.per_image]
    return report, lines, found.cost.passes


def opened(path, model, dataset, **options):
    return PartialResults(path, settings_of([model], dataset, **options))


@pytest.mark.parametrize("stops", [(0,), (1,), (3, 1), (2, 0, 2), (6,)])
def test_an_interrupted_evaluation_gives_the_same_result(stops, model, data, tmp_path):
    dataset = read_dataset(data)
    whole = evaluate(model, dataset, faithfulness=3)
    path = tmp_path / "partial"

    class StopError(Exception):
        pass

    class Interrupting:
        def __init__(self, section, after):
            self.section, self.after = section, after

        def take(self):
            return self.section.take()

        def add(self, scores):
            if not self.after:
                raise StopError
            self.after -= 1
            self.section.add(scores)

    for after in stops:
        partial = opened(path, model, dataset)
        with suppress(StopError):
            evaluate(model, dataset, faithfulness=3, partial=Interrupting(partial.section(0), after))
        partial.close(finished=False)
    partial = opened(path, model, dataset)
    assert partial.images == sum(stops)
    found = evaluate(model, dataset, faithfulness=3, partial=partial.section(0))
    partial.close(finished=True)
    assert without_times(found) == without_times(whole)
    for metric in METRICS:
        if metric.name in whole.values:
            for own, other in zip(found.rows.table(metric.name), whole.rows.table(metric.name), strict=True):
                assert own.dtype == other.dtype
                np.testing.assert_array_equal(own, other)
    assert len(found.skipped) == 1
    assert not path.exists()


def scores_of(number):
    rows = {
        "a": np.arange(4, dtype=np.uint8),
        "b": True,
        "c": np.float32(0.1) * number,
        "d": 1 / 3,
        "e": np.ones((2, 3)),
    }
    return ImageScores(f"ü{number}.png", {"model": [rows, {}], "random": []}, [{"file": "x", "iou": 1 / 7}], 0.1)


def test_values_come_back_bit_for_bit(tmp_path):
    path = tmp_path / "partial"
    partial = PartialResults(path, SETTINGS)
    kept = scores_of(3)
    partial.add(1, kept)
    partial.close(finished=False)
    again = PartialResults(path, SETTINGS)
    assert again.take(0) is None
    found = again.take(1)
    assert again.take(1) is None
    again.close(finished=False)
    assert (found.name, found.lines, found.milliseconds) == (kept.name, kept.lines, kept.milliseconds)
    first, second = found.objects["model"]
    assert second == {}
    for name, value in kept.objects["model"][0].items():
        np.testing.assert_array_equal(first[name], np.asarray(value), strict=True)
    nan = ImageScores("n", {}, [{"score": math.nan}], math.inf)
    partial = PartialResults(path, SETTINGS)
    partial.add(0, nan)
    partial.close(finished=False)
    again = PartialResults(path, SETTINGS)
    back = again.take(0)
    assert math.isnan(back.lines[0]["score"])
    assert back.milliseconds == math.inf
    again.close(finished=True)


@pytest.mark.parametrize("end", ["cut", "changed", "garbage"])
def test_a_damaged_end_is_measured_again(end, tmp_path):
    path = tmp_path / "partial"
    partial = PartialResults(path, SETTINGS)
    for number in range(3):
        partial.add(0, scores_of(number))
    partial.close(finished=False)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    if end == "cut":
        path.write_bytes(whole[:-20])
    elif end == "changed":
        last = bytearray(lines[-1])
        last[30] ^= 1
        path.write_bytes(b"".join(lines[:-1]) + last)
    else:
        path.write_bytes(b"".join(lines[:-1]) + b"\0\xff no line\n")
    again = PartialResults(path, SETTINGS)
    assert again.images == 2
    again.add(0, scores_of(2))
    again.close(finished=False)
    assert path.read_bytes() == whole


def test_a_file_that_was_cut_in_its_first_line_begins_again(tmp_path):
    path = tmp_path / "partial"
    partial = PartialResults(path, SETTINGS)
    partial.add(0, scores_of(1))
    partial.close(finished=False)
    path.write_bytes(path.read_bytes()[:35])
    again = PartialResults(path, SETTINGS)
    assert again.images == 0
    again.close(finished=False)
    assert not path.exists()


@pytest.mark.parametrize("content", [b"my notes\n", b"\x89PNG\r\n\x1a\n", b"{}", b"camrt model"])
def test_other_files_are_refused_and_stay(content, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="is no file of partial results; name another"):
        PartialResults(path, SETTINGS)
    assert path.read_bytes() == content


def test_a_pipe_or_a_folder_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, "/dev/null"):
        with pytest.raises(UsageError, match="is no regular file"):
            PartialResults(Path(path), SETTINGS)


def test_a_second_process_is_refused(tmp_path):
    first = PartialResults(tmp_path / "partial", SETTINGS)
    with pytest.raises(UsageError, match="is being written by"):
        PartialResults(tmp_path / "partial", SETTINGS)
    first.close(finished=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("image", "another state of the data;"),
        ("box", "another state of the data;"),
        ("mask", "another state of the data;"),
        ("new image", "another state of the data;"),
        ("model", r"another model file \(1 of 1\);"),
        ("threads", r"another provider or number of threads \(1 of 1\);"),
        ("option", "another value of faithfulness;"),
    ],
)
def test_a_change_since_then_is_refused_by_its_name(change, message, data, tmp_path):
    path = tmp_path / "partial"
    file = write_linear(tmp_path / "model.onnx")
    partial = opened(path, camrt.load(file, "cpu"), read_dataset(data), faithfulness=3)
    partial.add(0, scores_of(0))
    partial.close(finished=False)
    before = path.read_bytes()
    threads, faithfulness = None, 3
    if change == "image":
        (data / "0.png").write_bytes((data / "1.png").read_bytes())
    elif change == "mask":
        os.utime(data / "0_mask.png", ns=(1, 1))
    elif change == "box":
        (data / "boxes.csv").write_text((data / "boxes.csv").read_text().replace(",5,10,", ",6,10,", 1))
    elif change == "new image":
        (data / "7.png").write_bytes((data / "1.png").read_bytes())
        with (data / "boxes.csv").open("a") as table:
            table.write("7.png,boat,1,2,3,4,\n")
    elif change == "model":
        write_linear(file, seed=9)
    elif change == "threads":
        threads = camrt.load(file, "cpu").threads + 1
    else:
        faithfulness = None
    with pytest.raises(UsageError, match=f"partial was begun with {message} delete it to begin again"):
        opened(path, camrt.load(file, "cpu", threads), read_dataset(data), faithfulness=faithfulness)
    assert path.read_bytes() == before
