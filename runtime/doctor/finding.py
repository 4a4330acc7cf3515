"""What the examination of a subject finds."""

import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from camrt.runtime.inference.shared_libraries import wheels_of

OK: Final = "ok"
WARNING: Final = "warning"
"""Something is missing or slow, and camrt works without it."""
PROBLEM: Final = "problem"
"""Something is broken."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    subject: str
    """What it is about, in a word or two."""
    status: str
    """`OK`, `WARNING` or `PROBLEM`."""
    text: str
    """What was found, on one line."""
    mend: str | None = None
    """The command that mends it, to be pasted into a shell; None: there is nothing to mend, or no command does."""


def pip(arguments: str) -> str:
    """Return a command line for the pip of this Python, which may not be the one that a shell finds first."""
    found = shutil.which("pip")
    own = found is not None and Path(found).parent == Path(sys.executable).parent
    return f"pip {arguments}" if own else f"{shlex.quote(sys.executable)} -m pip {arguments}"


def swap(package: str, wanted: str) -> str:
    """Return a command line that removes every wheel of a package, and installs the wanted one."""
    names = " ".join(wheel.split()[0] for wheel in wheels_of(package))
    install = pip(f"install {wanted}")
    return f"{pip(f'uninstall -y {names}')} && {install}" if names else install
