"""Open a file to write for this process alone, and never through a link. Needs the standard library only."""

import errno
import os
import stat
from pathlib import Path
from typing import Final

from camrt.errors import SinkError, UsageError
from camrt.files import write_error

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_DEVICES: Final = (Path("/dev"), Path("/proc"))
_LOCKS: Final = Path("/proc/locks")


def open_exclusive(path: Path, *, keep: bool = False) -> int:
    """Open a file for writing; another process that opens it with this function is refused until it is closed.

    A link is not followed: in a folder that others can write to, it would lead wherever they want. A link below
    ``/dev`` or ``/proc``, such as ``/dev/stderr``, is. Pipes and devices have no lock, nor do some network drives.

    Args:
        path: the file; it is created if it does not exist.
        keep: keep its content, and write behind it; else it is emptied.

    Returns: a file descriptor; closing it releases the file.

    Raises:
        UsageError: another process, or this one, has opened the file.
        DiskFull, SinkError: the file is a link, or cannot be written.
    """
    trusted = any(path.absolute().is_relative_to(folder) for folder in _DEVICES)
    flags = os.O_WRONLY | os.O_CREAT | (0 if trusted else getattr(os, "O_NOFOLLOW", 0))
    while True:
        try:
            descriptor = os.open(path, flags, 0o666)
        except OSError as error:
            if error.errno == errno.ELOOP and path.is_symlink():
                raise SinkError(f"{path} is a link to {path.readlink()}; name the file itself") from error
            raise write_error(path, error) from error
        try:
            if _is_ready(descriptor, path, keep=keep):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def writer_of(path: Path) -> str:
    """Return who has opened a file with `open_exclusive`, for a message; empty: nobody."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return ""
    try:
        return _locked_by(descriptor, shared=True)
    finally:
        os.close(descriptor)


def _is_ready(descriptor: int, path: Path, *, keep: bool) -> bool:
    """Lock an open file; False: the path names another file by now. Raises: UsageError, SinkError."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return True
    if writer := _locked_by(descriptor, shared=False):
        raise UsageError(f"{path} is being written by {writer}; choose another name, or end that process first")
    try:
        if not os.path.samestat(status, path.stat()):
            return False  # the process before has renamed or removed it
        if keep:
            os.lseek(descriptor, 0, os.SEEK_END)
        else:
            os.ftruncate(descriptor, 0)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise write_error(path, error) from error
    return True


def _locked_by(descriptor: int, *, shared: bool) -> str:
    """Lock an open file; returns who has locked it before, or an empty text: it is locked now, or cannot be."""
    if fcntl is None:
        return ""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        number = _process_with_lock(os.fstat(descriptor))
        return f"process {number}" if number else "another process"
    except OSError:  # the file system has no locks
        pass
    return ""


def _process_with_lock(status: os.stat_result) -> int:
    """Return the number of the process that has locked a file; 0: unknown."""
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        lines = _LOCKS.read_text().splitlines()
    except OSError:
        return 0
    # 1: FLOCK  ADVISORY  WRITE 4711 08:01:131080 0 EOF
    numbers = [fields[4] for fields in map(str.split, lines) if fields[1:2] == ["FLOCK"] and fields[5:6] == [place]]
    return max(0, int(numbers[0])) if numbers else 0
