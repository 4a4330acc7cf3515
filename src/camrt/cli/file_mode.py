"""Flag ``--mode``: who may read the recordings of ``camrt live``."""

import argparse
import os
import re
from typing import Final

PRIVATE: Final = 0o600
"""Mode of recordings if no flag says otherwise: cameras are private."""


def add_mode_flag(parser: argparse.ArgumentParser) -> None:
    """Add ``--mode``."""
    parser.add_argument(
        "--mode",
        type=_mode,
        metavar="OCTAL",
        help="permissions of the files that are written, for example 640 (default: 600, only this user reads them, or "
        "less where the umask is narrower); folders get the same, and x where r is",
    )


def set_file_mode(mode: int | None) -> None:
    """Give the files that this process creates from now on a mode; None: `PRIVATE`, or less by the umask."""
    wanted = PRIVATE if mode is None else mode
    folders = wanted | (wanted & 0o444) >> 2
    before = os.umask(0o777 & ~folders)
    if mode is None:
        os.umask(0o777 & (before | ~folders))


def _mode(text: str) -> int:
    if re.fullmatch("0?[0-7]{3}", text) is None or not int(text, 8) & 0o200 or int(text, 8) & 0o111:
        raise argparse.ArgumentTypeError(
            f"{text!r}: three digits from 0 to 7, such as 640; the first is 6, because camrt writes the files"
        )
    return int(text, 8)
