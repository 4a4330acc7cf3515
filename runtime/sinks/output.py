"""Output files: an old one is not lost by accident, a new one appears when it is whole."""

import os
from pathlib import Path

from camrt.errors import SinkError


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Raise SinkError if ``path`` exists and may not be replaced, or can never be a file."""
    if path.is_dir():
        raise SinkError(f"{path} is a folder; name a file in it")
    if path.exists() and not overwrite:
        raise SinkError(f"{path} exists; choose another name, or allow it to be replaced with --overwrite")


def hidden_beside(path: Path) -> Path:
    """Return the name under which ``path`` is written until it is whole: hidden, same folder, same suffix."""
    return path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
