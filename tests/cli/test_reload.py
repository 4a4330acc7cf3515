"""SIGHUP reads the settings again: at any moment, and whatever the file has become."""

import os
import signal

import pytest

from support.command import interrupt, started
from support.desktop import eventually
from support.serving import DEMO

pytestmark = pytest.mark.process

SETTINGS = f'model = "{DEMO}"\nsource = "synthetic"\nevents = "seen.jsonl"\n'


def read_until(process, words):
    """Return the next line of the standard error that has these words."""
    for line in process.stderr:
        if words in line:
            return line
    raise AssertionError(f"it ended without {words!r}")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("alpha = " + "[" * 100_000, "is not TOML: maximum recursion depth exceeded"),
        (b"\xff\xfe", "is not TOML"),
        ("alpha = 9" + "9" * 5000, "is not TOML"),
        ('alpha = 0.5\n"a\\u001b[2Jb" = 1', r"there is no setting 'a\x1b[2Jb'"),
    ],
    ids=["nested arrays", "other encoding", "huge number", "control characters"],
)
def test_a_mistake_in_the_file_changes_nothing(tmp_path, content, reason):
    settings = tmp_path / "camrt.toml"
    settings.write_text(SETTINGS)
    with started("live", "--config", settings, cwd=tmp_path) as process:
        read_until(process, "Ctrl-C stops")
        settings.write_bytes(content if isinstance(content, bytes) else (SETTINGS + content).encode())
        process.send_signal(signal.SIGHUP)
        message = read_until(process, "no setting was changed")
        assert reason in message
        assert interrupt(process, signal.SIGTERM)[0] == 0


def test_a_pipe_in_place_of_the_file_is_not_waited_for(tmp_path):
    settings = tmp_path / "camrt.toml"
    settings.write_text(SETTINGS)
    with started("live", "--config", settings, cwd=tmp_path) as process:
        read_until(process, "Ctrl-C stops")
        settings.unlink()
        os.mkfifo(settings)
        process.send_signal(signal.SIGHUP)
        assert "camrt.toml is not a file" in read_until(process, "no setting was changed")
        assert interrupt(process, signal.SIGTERM)[0] == 0


def test_sighup_during_the_start_is_a_reload(tmp_path):
    settings = tmp_path / "camrt.toml"
    settings.write_text(SETTINGS)
    with started("live", "--config", settings, cwd=tmp_path) as process:
        # The handler is there when the kernel lists the signal as caught.
        assert eventually(lambda: _catches(process.pid, signal.SIGHUP), within_s=120)
        process.send_signal(signal.SIGHUP)
        assert "was reloaded: no change" in read_until(process, "reloaded")
        assert interrupt(process, signal.SIGTERM)[0] == 0


def _catches(pid, number):
    with open(f"/proc/{pid}/status") as file:  # noqa: PTH123 - not a file of the test
        caught = next(line for line in file if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)
