"""The real command line in a process of its own."""

import signal
import subprocess
import sys
from contextlib import contextmanager

from support.needs import environment

TIMEOUT_S = 400
"""No command of the tests takes so long, unless it hangs; a busy machine is several times slower."""


def command(*arguments):
    return [sys.executable, "-m", "camrt.cli", *map(str, arguments)]


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
