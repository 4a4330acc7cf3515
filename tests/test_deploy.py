"""Deployment files: systemd's own tools check the unit, its command line runs, and a linter checks the images."""

import configparser
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from camrt.runtime.assets import DEMO_MODEL
from support import REPOSITORY
from support.command import interrupt
from support.events import read_events
from support.needs import environment, skip_or_fail
from support.videos import read_video

DEPLOY = REPOSITORY / "deploy"
UNIT = DEPLOY / "camrt.service"
DOCKERFILES = ("Dockerfile", "Dockerfile.cuda")
INSTALLED = "/opt/camrt/bin/camrt"
WITHIN_S = 120


def tool(name):
    """Return the path of a tool of the system or of this environment."""
    folders = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return shutil.which(name, path=folders) or skip_or_fail(f"{name} is not installed")


def run(*words, **options):
    return subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False, timeout=120, **options)


def unit():
    """Return the sections of the unit. A repeated setting has its last value."""
    sections = configparser.ConfigParser(strict=False, interpolation=None)
    sections.optionxform = str
    sections.read(UNIT)
    return sections


@pytest.mark.process
def test_systemd_accepts_the_unit(tmp_path):
    camrt = tmp_path / "camrt"
    camrt.write_text("#!/bin/sh\n")
    camrt.chmod(0o755)
    (tmp_path / UNIT.name).write_text(UNIT.read_text().replace(INSTALLED, str(camrt)))
    done = run(tool("systemd-analyze"), "verify", "--man=no", tmp_path / UNIT.name)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.process
def test_the_service_is_hardened():
    done = run(tool("systemd-analyze"), "security", "--offline=true", "--threshold=20", "--no-pager", UNIT)
    assert done.returncode == 0, done.stdout  # at most 2.0 of 10
    assert "Overall exposure level" in done.stdout


@pytest.mark.process
def test_the_command_line_of_the_unit_runs_and_reports_to_systemd(tmp_path):
    service = unit()["Service"]
    assert (service["Type"], int(service["WatchdogSec"].removesuffix("s")) >= 10) == ("notify", True)
    settings = (DEPLOY / "camrt.toml").read_text().replace('source = "0"', 'source = "synthetic"')
    model = DEMO_MODEL
    (tmp_path / "camrt.toml").write_text(settings.replace("/etc/camrt/model.onnx", str(model)))
    words = service["ExecStart"].replace("/etc/camrt", str(tmp_path)).split()
    assert words[0] == INSTALLED
    folder = tmp_path / "state"
    folder.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(WITHIN_S)
        variables = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
        process = subprocess.Popen(
            [sys.executable, "-m", "camrt.cli", *words[1:]],
            cwd=folder,
            env=environment(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert listening.recv(100) == b"READY=1"
            assert listening.recv(100) == b"WATCHDOG=1"
            _, signal_option, target = service["ExecReload"].split()
            assert target == "$MAINPID"
            process.send_signal(getattr(signal, f"SIG{signal_option.removeprefix('-')}"))
            assert [listening.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
            status, errors = interrupt(process, signal.SIGTERM)
        finally:
            process.kill()
        message = b""
        while message != b"STOPPING=1":
            message = listening.recv(100)
    assert status == 0, errors
    assert "camrt.toml was reloaded: no change" in errors
    assert sorted(path.name for path in folder.iterdir()) == ["seen.jsonl", "seen.mp4"]
    assert len(read_video(folder / "seen.mp4")[0]) == len(read_events(folder / "seen.jsonl"))


@pytest.mark.process
@pytest.mark.parametrize("name", DOCKERFILES)
def test_a_linter_accepts_the_images(name):
    done = run(tool("hadolint"), DEPLOY / name)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_images_copy_all_sources_of_the_wheel_and_do_not_run_as_root(name):
    text = (DEPLOY / name).read_text()
    paths = [path for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE) for path in line.split()]
    assert not [path for path in paths if not (REPOSITORY / path).exists()]
    project = (REPOSITORY / "pyproject.toml").read_text()
    sources = re.search(r"only-include = \[(.*?)\]", project, re.DOTALL)[1]
    assert {path.split("/")[0] for path in re.findall(r'"(.*?)"', sources)} <= set(paths)
    assert re.search(r"^USER 10001:10001$", text, re.MULTILINE)
