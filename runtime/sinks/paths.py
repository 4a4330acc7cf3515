"""Output files: an old one is not lost by accident, a new one appears when it is whole."""

import os
import re
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


def numbered(folder: Path, name: re.Pattern[str]) -> list[tuple[int, Path]]:
    """Return what is called so in a folder, lowest number first; the number is the pattern's first group."""
    found = ((name.fullmatch(entry.name), entry) for entry in folder.iterdir())
    return sorted((int(match[1]), entry) for match, entry in found if match)


def left_beside(path: Path) -> list[Path]:
    """Return what `hidden_beside` named for processes that were killed.

    A process with our own number is one, too: in a container each start has the same.
    """
    name = re.compile(rf"\.{re.escape(path.stem)}\.(\d{{1,7}}){re.escape(path.suffix)}")
    return [entry for pid, entry in numbered(path.parent, name) if entry.is_file() and not _is_another(pid)]


def _is_another(pid: int) -> bool:
    """Tell whether a process of that number is alive and not this one."""
    if pid in (0, os.getpid()):  # to kill 0 is to kill all of our group
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is somebody else's
    return True
