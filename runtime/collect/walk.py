"""Walk over the files below a folder in natural order, one folder at a time."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from camrt.errors import SourceError
from camrt.media_files import natural_key

LeaveOut = Callable[[str, str], None]
"""Takes the name and the kind of a thing that is left out."""


def files_in_order(root: Path, leave_out: LeaveOut) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Yield each file below a folder with the names of its folders below ``root``, in the order of `natural_order`.

    Hidden files and folders are left out. Links to folders are followed, each folder once; the path without a link
    comes first. Memory grows with the number of folders and with the largest of them, not with the number of files: the
    system lists a folder in any order, so the names of one folder are sorted as a whole.

    Args:
        root: the folder.
        leave_out: is called for each folder that cannot be listed, and for each link to a folder that is read already.

    Raises:
        SourceError: ``root`` cannot be listed.
    """
    try:
        os.scandir(root).close()
    except OSError as error:
        raise SourceError(f"folder {root} cannot be listed: {error.strerror}") from error
    yield from _walk(str(root), (), _folders(root), leave_out)


def _walk(
    folder: str, names: tuple[str, ...], chosen: set[str], leave_out: LeaveOut
) -> Iterator[tuple[Path, tuple[str, ...]]]:
    try:
        with os.scandir(folder) as entries:
            # With its separator a folder comes where the paths of its files do.
            visible = [(one.name + os.sep * one.is_dir(), one.path) for one in entries if one.name[0] != "."]
    except OSError as error:
        leave_out("/".join(names), f"a folder that cannot be listed: {error.strerror}")
        return
    visible.sort(key=lambda one: natural_key(one[0]))
    for name, path in visible:
        if not name.endswith(os.sep):
            yield Path(path), names
        elif path in chosen:
            yield from _walk(path, (*names, name[:-1]), chosen, leave_out)
        else:
            leave_out("/".join((*names, name[:-1])), "a link to a folder that is read already")


def _folders(root: Path) -> set[str]:
    """Return the paths of the folders to read, each folder once; links come last."""
    folders, links = deque([str(root)]), deque[str]()
    seen: set[tuple[int, int]] = set()
    chosen: set[str] = set()
    while folders or links:
        folder = folders.popleft() if folders else links.popleft()
        try:
            status = Path(folder).stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            chosen.add(folder)
            with os.scandir(folder) as entries:
                for entry in entries:
                    if not entry.name.startswith(".") and entry.is_dir():
                        (links if entry.is_symlink() else folders).append(entry.path)
        except OSError:  # the walk reports it
            chosen.add(folder)
    return chosen
