"""What the examination of a subject finds."""

from dataclasses import dataclass
from typing import Final

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
    """The command that mends it, or what to do where no command can; None: there is nothing to mend."""
