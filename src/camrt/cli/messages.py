"""Messages to the user on standard error."""

import sys
from contextlib import suppress

from camrt.text import one_line


def tell(line: str) -> None:
    """Print a line for the user, with the name of the program and without credentials of addresses."""
    from camrt.runtime.sources.network.url import redact_text

    say(f"camrt: {redact_text(line)}")


def say(line: str) -> None:
    """Print a line for the user."""
    with suppress(OSError):  # standard error may be a file on a full disk, and the work goes on
        print(one_line(line), file=sys.stderr, flush=True)
