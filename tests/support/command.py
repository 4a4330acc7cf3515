"""The real command line in a process of its own."""

import signal
import subprocess
import sys
from contextlib import contextmanager
from functools import cache

from camrt.cli import _parser
from support.needs import environment

TIMEOUT_S = 400
"""No command of the tests takes so long, unless it hangs; a busy machine is several times slower."""


def command(*arguments):
    """Return the words that start ``camrt``; it runs a model on the CPU unless they name a provider.

    Where there is a GPU, ``auto`` may choose it: other digits, and a line that says why.
    """
    words = [str(argument) for argument in arguments]
    if words and words[0] in _with_provider() and not any(word.startswith(("--provider", "--help")) for word in words):
        words += ["--provider", "cpu"]
    return [sys.executable, "-m", "camrt.cli", *words]


@cache
def _with_provider():
    """Return the names of the commands that have ``--provider``."""
    commands = _parser()._subparsers._group_actions[0].choices
    return {name for name, parser in commands.items() if "--provider" in parser._option_string_actions}


def camrt(*arguments, cwd=None, **changes):
    """Run ``camrt`` without a display to its end, and return its ``returncode``, ``stdout`` and ``stderr``."""
    settings = environment(**changes)
    settings.pop("DISPLAY", None)
    settings.pop("WAYLAND_DISPLAY", None)
    return subprocess.run(
        command(*arguments), cwd=cwd, env=settings, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def succeeds(*arguments, cwd=None):
    """Run ``camrt``, which must succeed, and return its standard output."""
    done = camrt(*arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refusal(*arguments, status, cwd=None):
    """Run ``camrt``, which must end with ``status`` and one line of error, and return that line."""
    done = camrt(*arguments, cwd=cwd)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("camrt: ")]
    assert len(errors) == 1, done.stderr
    return errors[0].removeprefix("camrt: ")


@contextmanager
def started(*arguments, cwd=None, **changes):
    """Start ``camrt``, and kill it if it still runs at the end of the block."""
    process = subprocess.Popen(
        command(*arguments),
        cwd=cwd,
        env=environment(**changes),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def interrupt(process, signal_number=signal.SIGINT):
    """Send a signal, wait for the end, and return exit status and standard error."""
    process.send_signal(signal_number)
    _, errors = process.communicate(timeout=TIMEOUT_S)
    assert "Traceback" not in errors
    return process.returncode, errors
