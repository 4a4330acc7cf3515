"""Write a file whole or not at all, and never over another one by accident. Needs the standard library only."""

import errno
import hashlib
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from camrt.errors import DiskFull, SinkError, UsageError

_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LONGEST_NAME: Final = 255
"""Most bytes of a file's name on the usual file systems."""


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Raise UsageError if ``path`` is a folder, or a file that may not be replaced. Devices and pipes pass."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file in it")
    if path.is_file() and not overwrite:
        raise UsageError(f"{path} exists; choose another name, or replace it with --overwrite")


def check_target(target: Path, source: Path | None, *, overwrite: bool) -> None:
    """Check a file to write before long work begins.

    Args:
        target: the file to write.
        source: the file that is read, which is never replaced; None: no such file.
        overwrite: a file that exists may be replaced.

    Raises:
        UsageError: the target is a folder, the source, or a file that may not be replaced; or its folder is missing.
    """
    if not target.parent.is_dir():
        raise UsageError(f"there is no folder {target.parent}; create it first")
    if source is not None and target.exists() and source.exists() and target.samefile(source):
        raise UsageError(f"{target} is the input itself; choose another name for the output")
    refuse_existing(target, overwrite=overwrite)


def file_name(stem: str, ending: str, *, before: str = "") -> str:
    """Return ``before`` + ``stem`` + ``ending``, of at most 255 bytes.

    A stem that is too long is cut, and a hash of it keeps the name unique.
    """
    room = _LONGEST_NAME - len(os.fsencode(before + ending))
    data = os.fsencode(stem)
    if len(data) <= room:
        return f"{before}{stem}{ending}"
    mark = f"~{hashlib.sha1(data, usedforsecurity=False).hexdigest()[:8]}"
    cut = data[: room - len(mark)].decode("utf-8", "ignore")  # not within a character
    return f"{before}{cut}{mark}{ending}"


def hidden_beside(path: Path) -> Path:
    """Return the name of ``path`` while it is written: hidden, in the same folder, with the same suffix."""
    return path.with_name(_hidden(path, str(os.getpid())))


def _hidden(path: Path, process: str) -> str:
    # Room for the longest number of a process, so that a long name is cut in the same way for all of them.
    longest = file_name(path.stem, f".0000000{path.suffix}", before=".")
    return longest.removesuffix(f"0000000{path.suffix}") + process + path.suffix


def all_beside(path: Path) -> list[Path]:
    """Return the files with names of `hidden_beside`, of any process, in order of process number."""
    before, _, after = _hidden(path, "?").rpartition("?")
    name = re.compile(rf"{re.escape(before)}(\d{{1,7}}){re.escape(after)}")
    matches = ((name.fullmatch(entry.name), entry) for entry in path.parent.iterdir() if entry.is_file())
    return [entry for _, entry in sorted((int(match[1]), entry) for match, entry in matches if match)]


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a hidden path to write to; at the end of the block, the file there replaces ``path``.

    If the block raises, ``path`` stays as it was and the hidden file is removed.

    Raises:
        DiskFull, SinkError: the block or the rename raised OSError.
    """
    part = hidden_beside(path)
    try:
        with suppress(FileNotFoundError):  # of a killed process, or a link that another user has placed there
            part.unlink()
        part.touch(exist_ok=False)
        yield part
        part.replace(path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        with suppress(OSError):
            part.unlink()


def write_file(path: Path, data: bytes) -> None:
    """Write a file with `atomic_write`, and on the disk before it has its name. Raises: DiskFull, SinkError."""
    with atomic_write(path) as part, part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits. Raises: OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Give a new folder in the system's folder for temporary files; it is removed at the end of the block.

    `tempfile.TemporaryDirectory` leaves its folder behind if a signal arrives while it creates it.
    """
    folder = Path(tempfile.gettempdir()) / f"camrt-{secrets.token_hex(8)}"
    try:
        folder.mkdir(mode=0o700)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_error(path: Path, error: OSError) -> SinkError:
    """Return the error to raise if ``path`` cannot be written: DiskFull where space is missing."""
    kind = DiskFull if error.errno in _NO_ROOM else SinkError
    return kind(f"{path} cannot be written: {error.strerror}")
