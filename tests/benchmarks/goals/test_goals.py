"""The goals: a verdict on each measured value, the reason of each missing one, and a time limit that holds."""

import json
import os
import subprocess
import sys

import pytest

from camrt.benchmarks.goals import __main__ as goals_command
from camrt.benchmarks.goals.goals import GOALS, MET, NOT_MEASURED, SHORT, goals_table, judge
from camrt.benchmarks.goals.parts import FIRST, PARTS, SECOND, Setup
from camrt.benchmarks.report import report, tables
from camrt.cores import usable_cores
from support import REPOSITORY
from support.needs import environment
from support.tiny_models import write_linear

ABSENT = "provider 'cuda' cannot run: there is no NVIDIA driver"


def full_report(**machine):
    """Return a report in which every goal is met, with the numbers of a first run on an H200 where there are some."""
    overlay = {"camrt": 1.2, "torchcam": 76.0, "pytorch-grad-cam": 80.0}
    return {
        "date": "2026-11-27",
        "machine": {"gpu": "NVIDIA H200, driver 580", "cpu": "Xeon", "cores": 16, "versions": {}} | machine,
        "provider": "cuda",
        "parts": {
            "networks": {},
            "inference": {
                FIRST: {"ms": {"camrt": 0.5, "by hand": 0.42}, "ratio": 0.5 / 0.42},
                SECOND: {"ms": {"camrt": 0.7, "by hand": 0.61}, "ratio": 0.7 / 0.61},
            },
            "whole_frame": {"ms": overlay, "speedup": {name: ms / 1.2 for name, ms in overlay.items()}},
            "streams": [{"fps": 600.0}, {"fps": 1900.0, "throughput": 3.2}],
            "many_streams": [{"fps": 1950.0, "spread": 0.04}],
            "drawing": [
                {"cores": cores, "default": 2, "ms": {"1": 1.31, "2": 0.49}, "ratio": 1.0} for cores in (2, 4, 8, 16)
            ],
            "cpu_streams": [{"fps": 300.0}, {"fps": 630.0, "throughput": 2.1}],
        },
        "missing": {},
        "failed": [],
    }


def verdicts(of):
    return [judge(goal, of)[1] for goal in GOALS]


def test_every_goal_has_a_part_that_measures_it():
    assert {goal.part for goal in GOALS} == PARTS.keys() - {"networks"}
    assert verdicts(full_report()) == [MET] * len(GOALS)


@pytest.mark.parametrize(
    ("part", "change", "short"),
    [
        ("inference", lambda result: result[FIRST].update(ratio=1.26), 1),
        ("whole_frame", lambda result: result["speedup"].update(torchcam=59.9), 1),
        ("streams", lambda result: result[1].update(throughput=2.9, fps=1799.0), 2),
        ("many_streams", lambda result: result[0].update(fps=1919.0, spread=0.11), 2),
        ("drawing", lambda result: result[1].update(ratio=1.11), 1),
        ("cpu_streams", lambda result: result[1].update(throughput=1.9), 1),
    ],
)
def test_a_value_beyond_its_limit_is_short(part, change, short):
    changed = full_report()
    change(changed["parts"][part])
    assert verdicts(changed).count(SHORT) == short
    assert verdicts(changed).count(MET) == len(GOALS) - short


def test_values_stand_in_the_table_with_the_numbers_behind_them():
    text = goals_table(full_report())
    assert text.startswith("NVIDIA H200, driver 580; Xeon, 16 cores; ")
    assert "| 1.25x or less | 1.19x (0.50 / 0.42 ms) | met |" in text
    assert "| 60x or more | 63.33x (76.0 / 1.20 ms) | met |" in text
    assert "| 10 % or less | 4 % | met |" in text
    assert "| 1800 fps or more | 1900 fps | met |" in text
    assert "(2 threads 0.49 ms, 2 threads 0.49 ms)" in text
    assert "Not measured" not in text


def test_a_value_that_is_missing_has_its_reason_below_the_table():
    absent = full_report(cores=4, gpu=None)
    on_gpu = [name for name, part in PARTS.items() if part.on_gpu]
    for name in on_gpu:
        del absent["parts"][name]
        absent["missing"][name] = ABSENT
    text = goals_table(absent)
    assert text.startswith("no NVIDIA GPU; ")
    assert text.count("| not measured (1) |") == sum(goal.part in on_gpu for goal in GOALS)
    assert text.endswith(
        f"Not measured:\n\n1. {ABSENT}\n2. it needs 16 cores, and this machine has 4\n"
        "3. it needs 8 cores, and this machine has 4"
    )
    assert verdicts(absent).count(NOT_MEASURED) == text.count("| not measured (")


@pytest.mark.process
def test_parts_that_do_not_fit_the_time_limit_are_left_out(tmp_path):
    measured = goals_command.measure(Setup(folder=tmp_path, provider="cpu", turn_s=2.0), seconds=0.0)
    assert measured["parts"] == {}
    assert measured["failed"] == []
    assert measured["missing"].keys() == PARTS.keys()
    assert measured["missing"]["drawing"] == "left out: it takes about 21 s, and 0 s are left"


@pytest.mark.process
def test_a_part_that_fails_ends_with_its_error_and_the_others_go_on(tmp_path):
    """Without the part that writes them there are no model files."""
    command = [sys.executable, "-m", "camrt.benchmarks.goals", "--part", "inference", "--provider", "cpu"]
    done = subprocess.run(
        [*command, "--folder", str(tmp_path)], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == f"no model file at {tmp_path / 'mobilenet_v2.onnx'}\n"


@pytest.mark.process
def test_the_results_of_a_gpu_are_merged_into_a_document_without_measuring(tmp_path, monkeypatch, capsys):
    results, document = tmp_path / "gpu.json", tmp_path / "page.md"
    results.write_text(json.dumps(full_report()))
    other = "<!-- measured: live -->\nas it was\n<!-- end -->\n"
    document.write_text(f"A.\n\n<!-- measured: gpu -->\nnot yet\n<!-- end -->\n\n{other}")
    monkeypatch.setattr(sys, "argv", ["report", "--gpu", str(results), "--documents", str(document)])
    report.main()
    table = goals_table(full_report())
    assert document.read_text() == f"A.\n\n<!-- measured: gpu -->\n{table}\n<!-- end -->\n\n{other}"
    assert table in capsys.readouterr().out


def test_the_page_shows_the_committed_results_of_a_gpu_or_that_there_are_none():
    text = (REPOSITORY / "docs" / "performance.md").read_text(encoding="utf-8")
    committed = REPOSITORY / "docs" / "gpu.json"
    if committed.exists():
        assert tables.fill(text, {"gpu": goals_table(json.loads(committed.read_text()))}) == text
    else:
        assert "<!-- measured: gpu -->\nNot measured on a GPU yet.\n<!-- end -->" in text


@pytest.mark.slow
def test_each_part_gives_the_rows_of_its_goals_on_the_cpu(tmp_path):
    """With tiny networks; `tests/benchmarks/compare/test_baselines.py` runs the part with torch's libraries."""
    setup = Setup(folder=tmp_path, provider="cpu", turn_s=0.05)
    for file in (setup.file(FIRST), setup.file(SECOND, half=True)):
        write_linear(file)
    measured = full_report()
    for name in ("inference", "streams", "many_streams", "drawing", "cpu_streams"):
        measured["parts"][name] = json.loads(json.dumps(PARTS[name].measure(setup)))
    for result in measured["parts"]["inference"].values():
        assert result["difference"] < 1e-5  # the program by hand computes the same
    assert [row["cameras"] for row in measured["parts"]["streams"]] == [1, 16]
    assert [row["cameras"] for row in measured["parts"]["many_streams"]] == [64]
    cores = measured["machine"]["cores"] = usable_cores()
    assert [row["cores"] for row in measured["parts"]["drawing"]] == [n for n in (2, 4, 8, 16) if n <= cores]
    for goal in GOALS:
        assert (judge(goal, measured)[1] == NOT_MEASURED) == (goal.cores > cores)


def test_rows_of_a_gpu_that_another_provider_measured_are_not_judged():
    text = goals_table(full_report() | {"provider": "cpu"})
    assert text.count("| not measured (1) |") == sum(PARTS[goal.part].on_gpu for goal in GOALS)
    assert text.endswith("1. it was measured with provider 'cpu', to test this program")


@pytest.mark.process
@pytest.mark.slow
def test_the_script_measures_the_cpu_and_says_why_there_is_no_gpu(tmp_path):
    """With a stand-in for nvidia-smi, since a machine may have none: the name of its GPU comes from there."""
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 'NVIDIA Test, 580.1'\n")
    smi.chmod(0o755)
    changes = {"PYTHON": sys.executable, "TURN": "0.05", "LIMIT": "900"}
    changes["PATH"] = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    numbers = REPOSITORY / "gpu.json"
    try:
        done = subprocess.run(
            [REPOSITORY / "benchmarks" / "gpu.sh"],
            env=environment(**changes),
            capture_output=True,
            text=True,
            timeout=1000,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        measured = json.loads(numbers.read_text())
    finally:
        numbers.unlink(missing_ok=True)
    assert measured["parts"].keys() | measured["missing"].keys() == PARTS.keys()
    assert measured["parts"].keys() >= {name for name, part in PARTS.items() if not part.on_gpu}
    assert all("provider 'cuda' cannot run: " in reason for reason in measured["missing"].values())
    assert measured["machine"]["gpu"] == "NVIDIA Test, driver 580.1"
    assert goals_table(measured) in done.stdout
