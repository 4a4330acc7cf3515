"""Find out what is wrong with an installation, also where nothing can be imported.

Each subject is a module of this folder with a function ``findings()``, and is examined in a process of its own: what
crashes or hangs there becomes a finding here. So this module imports nothing that may be missing or broken.
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

SUBJECTS: Final = ("machine", "packages", "providers", "nvidia", "opencv", "kernels", "cameras")
"""In the order of the report."""
_PATIENCE_S: Final = 90.0
"""More than any of them takes: compiling the kernels without a cache takes 20 s on a small device."""


def examine(subjects: tuple[str, ...] = SUBJECTS, patience_s: float = _PATIENCE_S) -> Iterator[Finding]:
    """Yield the findings about each subject; none takes longer than ``patience_s``, in seconds."""
    for subject in subjects:
        yield from _examine_apart(subject, patience_s)


def report(subject: str) -> None:
    """Write the findings about a subject to the standard output as they come, one JSON object a line."""
    for finding in importlib.import_module(f"{__name__}.{subject}").findings():
        print(json.dumps(asdict(finding)), flush=True)


def _examine_apart(subject: str, patience_s: float) -> Iterator[Finding]:
    # It looks for packages where this process does: not in the current folder, which may hold a numpy.py.
    code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import report; report({subject!r})"
    command = [sys.executable, "-P", "-c", code]
    # Into files, for a pipe stays open as long as any child of the process lives.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, start_new_session=True
            )
        except OSError as error:
            yield Finding(subject, PROBLEM, f"Python cannot be started ({sys.executable}): {error}")
            return
        try:
            status: int | None = process.wait(patience_s)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            _end(process)
        yield from _findings(out)
        if status is None:
            yield Finding(subject, PROBLEM, f"no answer within {patience_s:g} s; what it was at is not known")
        elif status:
            how = f"signal {-status}" if status < 0 else f"status {status}"
            yield Finding(subject, PROBLEM, f"the examination ended with {how}: {_last_line(errors) or 'no word'}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(1.0)
        except (OSError, subprocess.TimeoutExpired):
            pass  # stuck in a driver; it is not waited for


def _findings(out: IO[bytes]) -> Iterator[Finding]:
    """Yield what was written, one JSON object a line; what libraries print in between is passed over."""
    out.seek(0)
    for line in out.read().decode("utf-8", "replace").splitlines():
        try:
            yield Finding(**json.loads(line))
        except (ValueError, TypeError):
            continue


def _last_line(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip() if lines else ""
