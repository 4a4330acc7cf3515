"""``camrt bench``: the table and the JSON keys that scripts read. No test asserts a speed."""

import json
from xml.etree import ElementTree

import cv2
import numpy as np
import onnxruntime
import pytest

from camrt import __version__
from camrt.cores import usable_cores
from support.command import camrt, refusal, succeeds

pytestmark = pytest.mark.process

QUICK = ["--rounds", "2", "--size", "160x120", "--provider", "cpu"]


@pytest.fixture(scope="module")
def report(mobilenet):
    """The JSON report of every combination of two numbers of threads and two sizes."""
    flags = ["--rounds", "2", "--size", "160x120", "33x40", "--threads", "2", "1", "--provider", "cpu"]
    return json.loads(succeeds("bench", mobilenet, *flags, "--json"))


@pytest.fixture(scope="module")
def run(report):
    return report["runs"][0]


def test_every_combination_of_lists_is_measured(report):
    assert report["rounds"] == 2
    assert [(run["threads"], run["frame"]) for run in report["runs"]] == [
        *((2, [160, 120]), (2, [33, 40]), (1, [160, 120]), (1, [33, 40])),
    ]


def test_run_has_the_keys_that_scripts_read(report, mobilenet):
    for run in report["runs"]:
        assert (run["model"], run["provider"]) == (mobilenet.name, "cpu")
        assert run["precision"] == run["running_precision"] == "fp32"
        assert set(run["stages"]) == {"preprocess", "inference", "cam", "overlay"}
        for times in run["stages"].values():
            assert 0 < times["p50_ms"] <= times["p95_ms"] <= times["p99_ms"]
        assert run["fps"]["inference_only"] > 0
        assert run["fps"]["overlay"] > 0
        assert run["spin_us"] == (50 if onnxruntime_is_new() else 0)


def onnxruntime_is_new():
    major, minor = onnxruntime.__version__.split(".")[:2]
    return (int(major), int(minor)) >= (1, 26)


def test_numbers_of_a_run_are_consistent(run):
    # Two rounds: the median of two ratios lies between those of the extremes.
    assert run["ratio"] == pytest.approx(run["fps"]["overlay"] / run["fps"]["inference_only"], rel=0.5)
    assert run["frames_per_block"] >= 4
    assert 50 < run["memory_mb"] < 2000  # an interpreter with NumPy, OpenCV and ONNX Runtime
    assert run["startup_s"] > run["stages"]["inference"]["p50_ms"] / 1000
    for cores in run["cpu_cores"].values():
        assert 0 < cores < usable_cores() + 0.5


def test_report_describes_the_machine(report):
    machine = report["machine"]
    assert machine["cpu"]
    assert machine["cores"] == usable_cores()
    assert machine["versions"]["camrt"] == __version__
    assert {"python", "numpy", "numba"} <= set(machine["versions"])


def test_single_run_is_printed_stage_by_stage(mobilenet):
    lines = succeeds("bench", mobilenet, *QUICK, "--threads", "1").splitlines()
    assert lines[1] == f"{mobilenet.name} on cpu, 1 threads, fp32, frames 160x120 from memory"
    first_words = [line.split()[0] for line in lines if line.strip()]
    assert first_words[2:] == [
        *("stage", "preprocess", "inference", "cam", "overlay", "inference", "with", "ratio", "start", "memory"),
    ]


def test_several_runs_are_printed_as_a_table_and_drawn_as_a_chart(mobilenet, squeezenet, tmp_path):
    chart = tmp_path / "speed.png"
    lines = succeeds("bench", mobilenet, squeezenet, *QUICK, "--rounds", "1", "--chart", chart).splitlines()
    assert [line.split()[:5] for line in lines[-2:]] == [
        [model.name, "cpu", "fp32", str(usable_cores()), "160x120"] for model in (mobilenet, squeezenet)
    ]
    assert "pre ms  infer ms  cam ms  overlay ms" in lines[-3]
    for line in lines[-2:]:
        assert len([float(number) for number in line.split()[5:]]) == 10
    image = cv2.imread(str(chart))
    assert image.shape[1] > 1000
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 10  # bars of several colours, on white
    assert [path.name for path in tmp_path.iterdir()] == ["speed.png"]


def test_svg_chart_contains_its_labels_as_text(mobilenet, tmp_path):
    chart = tmp_path / "speed.svg"
    chart.write_text("old")
    succeeds("bench", mobilenet, *QUICK, "--rounds", "1", "--chart", chart, "--overwrite", "--json")
    text = "".join(ElementTree.parse(chart).getroot().itertext())
    for word in (mobilenet.name, "160x120, cpu", "frames per second", "with the overlay", "preprocess"):
        assert word in text


def test_dollar_signs_in_a_model_name_are_no_formula_in_a_chart(mobilenet, tmp_path):
    model, chart = tmp_path / "a$^$_b.onnx", tmp_path / "speed.svg"  # "$" begins a formula in matplotlib
    model.symlink_to(mobilenet)
    succeeds("bench", model, *QUICK, "--rounds", "1", "--chart", chart)
    assert model.name in "".join(ElementTree.parse(chart).getroot().itertext())


@pytest.mark.parametrize("size", ["0x10", "wide", "10x20x30", "-4x4"])
def test_malformed_size_is_a_usage_error(mobilenet, size):
    done = camrt("bench", mobilenet, f"--size={size}")
    assert done.returncode == 2
    assert "is not WIDTHxHEIGHT" in done.stderr


def test_zero_rounds_are_a_usage_error(mobilenet):
    assert refusal("bench", mobilenet, "--rounds", "0", status=2) == "--rounds 0: at least 1 is needed"


def test_chart_and_session_errors_are_raised_before_anything_is_measured(mobilenet, tmp_path):
    forever = ["--rounds", "1000000"]
    existing = tmp_path / "existing.png"
    existing.write_text("old")
    assert "exists" in refusal("bench", mobilenet, *forever, "--chart", existing, status=2)
    assert existing.read_text() == "old"
    assert ".png or .svg" in refusal("bench", mobilenet, *forever, "--chart", tmp_path / "speed.pdf", status=2)
    for folder in ("gone", existing.name):
        chart = tmp_path / folder / "speed.png"
        assert "cannot be written" in refusal("bench", mobilenet, *forever, "--chart", chart, status=1)
    assert "threads 0 must be at least 1" in refusal("bench", mobilenet, *forever, "--threads", "1", "0", status=2)
    assert "no provider 'gpu'" in refusal("bench", mobilenet, *forever, "--provider", "cpu", "gpu", status=2)
    assert "no model file" in refusal("bench", mobilenet, tmp_path / "gone.onnx", *forever, status=2)
    assert [path.name for path in tmp_path.iterdir()] == ["existing.png"]
