"""Finding: one line of the report, with the command that fixes it."""

import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from camrt.runtime.inference.shared_libraries import wheels_of

OK: Final = "ok"
WARNING: Final = "warning"
"""A part is missing or slow, and camrt works without it."""
PROBLEM: Final = "problem"
"""A part is broken."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    subject: str
    """The part that was checked, in one or two words."""
    status: str
    """`OK`, `WARNING` or `PROBLEM`."""
    text: str
    """The result, on one line."""
    fix: str | None = None
    """Shell command that fixes the problem; None: there is no problem, or no such command."""


def pip(arguments: str) -> str:
    """Return a shell command for the pip of this Python, which may not be the first pip on the path."""
    first = shutil.which("pip")
    own = first is not None and Path(first).parent == Path(sys.executable).parent
    return f"pip {arguments}" if own else f"{shlex.quote(sys.executable)} -m pip {arguments}"


def swap(package: str, wheel: str) -> str:
    """Return a shell command that removes every wheel of a package and installs ``wheel``."""
    names = " ".join(installed.split()[0] for installed in wheels_of(package))
    install = pip(f"install {wheel}")
    return f"{pip(f'uninstall -y {names}')} && {install}" if names else install
