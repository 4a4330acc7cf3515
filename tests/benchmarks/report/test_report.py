"""The report: one command runs all measurements, and the documents show the committed results."""

import copy
import json
import subprocess
import sys

import pytest

from camrt.benchmarks.report import regression_check, tables
from camrt.errors import CamrtError
from support import REPOSITORY
from support.needs import environment

COMMITTED = REPOSITORY / regression_check.COMMITTED


@pytest.fixture(scope="module")
def committed():
    return json.loads(COMMITTED.read_text())


@pytest.mark.process
@pytest.mark.slow
def test_one_command_runs_all_measurements_and_fills_the_documents(tmp_path, committed):
    document = tmp_path / "page.md"
    document.write_text("Before.\n\n<!-- measured: whole_frame -->\nold\n<!-- end -->\n\nAfter.\n")
    code = (
        "from camrt.benchmarks.compare import many_streams, overlay\n"
        "from camrt.benchmarks.report import report\n"
        "overlay.SIZES = ((64, 48), (33, 7), (80, 60)); report.FRAMES = ((64, 48), (80, 60))\n"
        "report.NETWORKS = ('mobilenet_v2',)\n"
        "many_streams.KINDS = {'memory 720p': (64, 48), 'H.264 file 720p': (64, 48)}\n"
        "report.STREAMS = (1, 2); report.STREAM_TURN_S = 0.2\n"
        "report.main()"
    )
    arguments = ["--rounds", "1", "--threads", "2", "--json", "numbers.json"]
    arguments += ["--chart", "chart.svg", "--documents", "page.md"]
    command = [sys.executable, "-W", "ignore", "-c", code, *arguments]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "numbers.json").read_text())
    assert set(report) == set(committed)
    assert [run["frame"] for run in report["live"]] == [[64, 48], [80, 60]]
    assert [row["cameras"] for row in report["cameras"]] == [1, 2, 3]
    assert all(row["fps"] > 0 and row["spread"] >= 0 for row in report["cameras"])
    assert [row["cameras"] for row in report["streams"]] == [1, 2] * 2
    chart = (tmp_path / "chart.svg").read_text()
    assert all(name in chart for name in report["whole_frame"][0]["ms"])
    text = document.read_text()
    assert text.startswith("Before.\n\n<!-- measured: whole_frame -->\n|  | 64x48 | 80x60 |\n")
    assert text.endswith("\n<!-- end -->\n\nAfter.\n")
    assert "| torchcam |" in text
    assert set(regression_check.ratios(report)) != set(regression_check.ratios(committed))  # other sizes, other names


@pytest.mark.parametrize("document", ["README.md", "docs/performance.md", "docs/edge.md"])
def test_documents_show_the_committed_results(document, committed):
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    assert "<!-- measured: " in text
    assert tables.fill(text, tables.make_tables(committed)) == text


def test_block_with_an_unknown_table_is_an_error(committed):
    with pytest.raises(CamrtError, match="there is no table 'speed'; known tables: "):
        tables.fill("<!-- measured: speed -->\n<!-- end -->\n", tables.make_tables(committed))


def test_regressions_are_ratios_that_fell_by_more_than_a_fifth(committed):
    assert regression_check.regressions(committed, committed) == {}
    slower = copy.deepcopy(committed)
    slower["live"][0]["ratio"] *= 0.79
    slower["live"][1]["ratio"] *= 0.81
    slower["whole_frame"][0]["speedup"]["torchcam"] *= 0.5
    slower["overlay"][0]["speedup"]["by value"] *= 2  # twice the time of the plain one
    slower["overlay"][0]["speedup"]["copy"] *= 2  # copying takes twice as long: better for camrt
    assert len(regression_check.regressions(committed, slower)) == 3
    better = regression_check.regressions(slower, committed)
    assert list(better) == [name for name in better if name.endswith("copy")]


def test_regression_check_returns_an_exit_status(committed, capsys):
    slower = copy.deepcopy(committed)
    slower["live"][0]["ratio"] *= 0.5
    assert regression_check.compare_runs(committed, [committed]) == 0
    assert regression_check.compare_runs(committed, [slower, committed]) == 0  # the second run is as fast as before
    assert "live " not in capsys.readouterr().out
    assert regression_check.compare_runs(committed, [slower, slower]) == 1
    assert "live " in capsys.readouterr().out
