"""``camrt bench``: the table and the keys that scripts read. How fast it is is nobody's test."""

import json

import pytest

from camrt import __version__
from camrt.runtime.threads import usable_cores
from support.command import camrt, refusal, succeeds

QUICK = ["--rounds", "2", "--size", "160x120"]


@pytest.fixture(scope="module")
def report(mobilenet):
    return json.loads(succeeds("bench", mobilenet, *QUICK, "--json"))


def test_the_report_has_the_keys_that_scripts_read(report):
    assert (report["provider"], report["threads"]) == ("cpu", usable_cores())
    assert (report["frame"], report["rounds"]) == ([160, 120], 2)
    assert set(report["stages"]) == {"preprocess", "inference", "cam", "overlay"}
    for times in report["stages"].values():
        assert 0 < times["p50_ms"] <= times["p95_ms"] <= times["p99_ms"]
    assert report["fps"]["inference_only"] > 0
    assert report["fps"]["overlay"] > 0


def test_the_numbers_fit_together(report):
    # Two rounds: the median of two ratios lies between those of the extremes.
    assert report["ratio"] == pytest.approx(report["fps"]["overlay"] / report["fps"]["inference_only"], rel=0.5)
    assert report["frames_per_block"] >= 4
    assert report["peak_memory_mb"] > 50  # an interpreter with NumPy, OpenCV and ONNX Runtime
    assert report["startup_s"] > report["stages"]["inference"]["p50_ms"] / 1000


def test_it_says_on_what_it_was_measured(report):
    machine = report["machine"]
    assert machine["cpu"]
    assert machine["cores"] == usable_cores()
    assert machine["versions"]["camrt"] == __version__
    assert {"python", "numpy", "numba"} <= set(machine["versions"])


def test_the_table_shows_every_stage(mobilenet):
    lines = succeeds("bench", mobilenet, *QUICK, "--threads", "1").splitlines()
    assert lines[0] == f"{mobilenet} on cpu, 1 threads, frames 160x120 from memory"
    first_words = [line.split()[0] for line in lines if line.strip()]
    assert first_words[2:] == [
        "stage",
        "preprocess",
        "inference",
        "cam",
        "overlay",
        "inference",
        "with",
        "ratio",
        "start",
        "peak",
    ]


@pytest.mark.parametrize("size", ["0x10", "wide", "10x20x30", "-4x4"])
def test_a_size_that_is_none_is_wrong_use(mobilenet, size):
    done = camrt("bench", mobilenet, f"--size={size}")
    assert done.returncode == 2
    assert "is not WIDTHxHEIGHT" in done.stderr


def test_no_round_is_wrong_use(mobilenet):
    assert refusal("bench", mobilenet, "--rounds", "0", status=2) == "--rounds 0: at least one"
