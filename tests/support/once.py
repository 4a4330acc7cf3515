"""Files that are made once for all tests of a run, also in several processes of pytest-xdist."""

import fcntl
import os


def made_once(tmp_path_factory, name, make):
    """Return the path ``name`` in a folder that all workers of this run share; ``make(path)`` writes it once."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # the folder of a worker is inside the folder of the run
    path = folder / name
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            make(path)
    return path
