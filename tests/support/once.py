"""Files that the tests of one run make once, also where pytest-xdist runs them in several processes."""

import fcntl
import os


def made_once(tmp_path_factory, name, make):
    """Return the path ``name`` in a folder that all workers of this run share; ``make(path)`` writes it once."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # each worker has a folder of its own in it
    path = folder / name
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            make(path)
    return path
