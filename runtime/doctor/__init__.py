"""Examine an installation, even if none of its packages can be imported.

Each subject is a module of this folder with a function ``findings()``. It runs in a process of its own, so a crash or a
hang there becomes a finding here. This module imports nothing that may be missing or broken.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from typing import IO, Final

from camrt.runtime.doctor.finding import PROBLEM, Finding

SUBJECTS: Final = ("machine", "packages", "providers", "nvidia", "opencv", "decoders", "kernels", "cameras")
"""Modules of this folder, in the order of the report."""
_TIMEOUT_S: Final = 90.0
"""Longer than every subject: compiling the kernels without a cache takes 20 s on a small device."""


def examine(subjects: tuple[str, ...] = SUBJECTS, timeout_s: float = _TIMEOUT_S) -> Iterator[Finding]:
    """Yield the findings of each subject; a subject that takes longer than ``timeout_s`` seconds is ended."""
    for subject in subjects:
        yield from _examine_in_process(subject, timeout_s)


def report(subject: str) -> None:
    """Print the findings of a subject as they come, one JSON object per line."""
    for finding in importlib.import_module(f"{__name__}.{subject}").findings():
        print(json.dumps(asdict(finding)), flush=True)


def _examine_in_process(subject: str, timeout_s: float) -> Iterator[Finding]:
    # The process has the import path of this one: the current folder, which may hold a numpy.py, is not in it.
    code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import report; report({subject!r})"
    command = [sys.executable, "-P", "-c", code]
    # Output goes to files, because a pipe stays open as long as any child of the process lives.
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, start_new_session=True
            )
        except OSError as error:
            yield Finding(subject, PROBLEM, f"Python cannot be started ({sys.executable}): {error}")
            return
        try:
            status: int | None = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            _end(process)
        yield from _findings(output)
        if status is None:
            yield Finding(subject, PROBLEM, f"the check did not end within {timeout_s:g} s, for an unknown reason")
        elif status:
            cause = f"signal {-status}" if status < 0 else f"status {status}"
            yield Finding(subject, PROBLEM, f"the check ended with {cause}: {_last_line(errors) or 'no message'}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(1.0)
        except (OSError, subprocess.TimeoutExpired):
            pass  # stuck in a driver: do not wait


def _findings(output: IO[bytes]) -> Iterator[Finding]:
    """Yield the findings in the output, one JSON object per line; lines that libraries print are skipped."""
    output.seek(0)
    for line in output.read().decode("utf-8", "replace").splitlines():
        try:
            yield Finding(**json.loads(line))
        except (ValueError, TypeError):
            continue


def _last_line(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip() if lines else ""
