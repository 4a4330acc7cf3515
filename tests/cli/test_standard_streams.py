"""Closed standard streams: nothing gets into the wrong file, and the work goes on."""

import json
import subprocess

import pytest

from support.command import command
from support.needs import environment
from support.serving import DEMO

pytestmark = pytest.mark.process


def shell(redirection, *arguments, cwd):
    """Run ``camrt`` in a shell that closes descriptors."""
    words = ["bash", "-c", f'exec "$@" {redirection}', "bash", *command(*arguments)]
    return subprocess.run(words, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=120, check=False)


LIVE = ("live", DEMO, "--source", "synthetic", "--frames", 3)


@pytest.mark.parametrize("redirection", ["2>&-", "0<&- 2>&-"])
def test_with_standard_error_closed_the_events_hold_events_only(tmp_path, redirection):
    done = shell(redirection, *LIVE, "--serve", "0.0.0.0:0", "--events", "-", cwd=tmp_path)
    assert done.returncode == 0
    assert ["frame" in json.loads(line) for line in done.stdout.splitlines()] == [True] * 3


def test_with_standard_output_closed_the_run_goes_on(tmp_path):
    done = shell("1>&-", *LIVE, "--events", "e.jsonl", cwd=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert len((tmp_path / "e.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize("redirection", ["1>&-", "0<&- 1>&- 2>&-"])
def test_with_everything_closed_files_are_whole(tmp_path, redirection):
    done = shell(redirection, *LIVE, "-o", "out.mkv", "--events", "e.jsonl", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert ["frame" in json.loads(line) for line in (tmp_path / "e.jsonl").read_text().splitlines()] == [True] * 3
    assert b"synthetic" not in (tmp_path / "out.mkv").read_bytes()


def test_a_report_to_a_closed_standard_output_is_no_error(tmp_path):
    done = shell("1>&-", "inspect", DEMO, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
