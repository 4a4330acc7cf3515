"""Flags that limit the disk space of long runs."""

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
        help="start a new video or event file every SIZE, for example 500M; finished files are numbered, and files of "
        "earlier runs, images too, are kept",
    )
    group.add_argument(
        "--keep",
        type=size,
        metavar="SIZE",
        help=f"keep at most SIZE of numbered files for each output and remove the oldest (default: {_FILES_KEPT} times "
        "--rotate)",
    )


def size(text: str) -> int:
    """Return the number of bytes in a text such as ``500M``. Raises: ArgumentTypeError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kMGT]?)B?", text)
    number = round(float(match[1]) * _UNITS[match[2]]) if match else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; write bytes, or 100k, 500M, 2G")
    return number


def rotation_of(args: argparse.Namespace) -> "Rotation | None":
    """Return the rotation in ``--rotate`` and ``--keep``; None without them. Raises: UsageError: ``--keep`` alone."""
    from camrt.runtime.sinks import Rotation

    if args.rotate is None:
        if args.keep is not None:
            raise UsageError("--keep limits the files that --rotate numbers; pass --rotate as well")
        return None
    return Rotation(args.rotate, _FILES_KEPT * args.rotate if args.keep is None else args.keep)
