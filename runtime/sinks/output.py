"""Output files: an old one is not lost by accident, a new one appears when it is whole."""

import os
from pathlib import Path

from camrt.errors import SinkError, UsageError


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Raise if ``path`` is a file that may not be replaced, or a folder; devices and pipes are there to be written.

    Raises:
        UsageError: the file exists.
        SinkError: it is a folder.
    """
    if path.is_dir():
        raise SinkError(f"{path} is a folder; name a file in it")
    if path.is_file() and not overwrite:
        raise UsageError(f"{path} exists; choose another name, or allow it to be replaced with --overwrite")


def hidden_beside(path: Path) -> Path:
    """Return the name under which ``path`` is written until it is whole: hidden, same folder, same suffix."""
    return path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
