"""Flags that keep what is written for weeks from filling the disk."""

import argparse
import re
from typing import TYPE_CHECKING

from camrt.errors import UsageError

if TYPE_CHECKING:
    from camrt.runtime.sinks import Rotation

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_FILES_KEPT = 5


def add_rotation_flags(parser: argparse.ArgumentParser) -> None:
    """Add ``--rotate`` and ``--keep``."""
    group = parser.add_argument_group("files that grow")
    group.add_argument(
        "--rotate",
        type=size,
        metavar="SIZE",
        help="continue videos and events in a new file after so much, as in 500M; finished ones get a number, and an "
        "earlier run's are kept, also its pictures",
    )
    group.add_argument(
        "--keep",
        type=size,
        metavar="SIZE",
        help=f"with --rotate: of each output, remove the oldest numbered files beyond so much (default {_FILES_KEPT} "
        "times --rotate)",
    )


def size(text: str) -> int:
    """Return the bytes that a text like ``500M`` stands for. Raises: ArgumentTypeError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kMGT]?)B?", text)
    number = round(float(match[1]) * _UNITS[match[2]]) if match else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write bytes, or 100k, 500M, 2G")
    return number


def rotation_of(args: argparse.Namespace) -> "Rotation | None":
    """Return what ``--rotate`` and ``--keep`` ask for; None without. Raises: UsageError: the second alone."""
    from camrt.runtime.sinks import Rotation

    if args.rotate is None:
        if args.keep is not None:
            raise UsageError("--keep says what becomes of files that --rotate sets aside; give --rotate, too")
        return None
    return Rotation(args.rotate, _FILES_KEPT * args.rotate if args.keep is None else args.keep)
