"""The kernels' cache on disk, and what happens where there can be none. Each in a process of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support import REPOSITORY

pytestmark = pytest.mark.process

REPORT = """
import sys
from camrt import kernels
kernels.warm_up()
import numpy as np
assert kernels.normalize(np.array([[0, 2]], np.float32)).tolist() == [[0, 1]]
rooms = [vars(sys.modules[f"camrt.kernels.{name}"]) for name in ("maps", "overlay")]
compiled = {id(value): value for room in rooms for value in room.values() if hasattr(value, "signatures")}
print(sum(sum(value.stats.cache_hits.values()) for value in compiled.values()), kernels.cache_problem())
"""


def run(package, *, before="", **environment):
    environment = os.environ | {"PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"} | environment
    done = subprocess.run(
        [sys.executable, "-c", before + REPORT],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    hits, problem = done.stdout.strip().split(" ", 1)
    return int(hits), problem


@pytest.fixture
def package(tmp_path):
    """The package without its cache, in a folder of its own."""
    target = tmp_path / "site" / "camrt"
    shutil.copytree(REPOSITORY / "src" / "camrt", target, ignore=shutil.ignore_patterns("__pycache__", "export"))
    return target.parent


def test_the_second_process_compiles_nothing(package):
    assert run(package) == (0, "None")
    hits, problem = run(package)
    assert hits >= 3  # every kernel that Python calls
    assert problem == "None"


def test_a_read_only_install_without_a_home_still_works(package, tmp_path):
    # As root nothing is read-only; a file where a folder is to be made cannot be written to by anybody.
    (package / "camrt" / "kernels" / "__pycache__").write_text("")
    home = tmp_path / "home"
    home.write_text("")
    hits, problem = run(package, HOME=str(home), XDG_CACHE_HOME=str(home), IPYTHONDIR=str(home))
    assert hits == 0
    assert "no locator available" in problem


FULL_DISK = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # no file grows over 1000 bytes from here on
"""


def test_a_full_disk_is_told_and_nothing_else(package, tmp_path):
    cache = tmp_path / "cache"
    hits, problem = run(package, before=FULL_DISK, NUMBA_CACHE_DIR=str(cache))
    assert hits == 0
    assert "the kernel cache cannot be used" in problem


def test_a_damaged_cache_is_told_and_nothing_else(package, tmp_path):
    cache = tmp_path / "cache"
    run(package, NUMBA_CACHE_DIR=str(cache))
    files = [path for path in Path(cache).rglob("*") if path.is_file()]
    assert files
    for path in files:
        path.write_bytes(path.read_bytes()[:100])
    hits, problem = run(package, NUMBA_CACHE_DIR=str(cache))
    assert hits == 0
    assert "the kernel cache cannot be used" in problem
