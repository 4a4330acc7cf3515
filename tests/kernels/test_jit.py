"""Kernels are cached on disk, and work without a cache. Each case runs in its own process."""

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
modules = [vars(sys.modules[f"camrt.kernels.{name}"]) for name in ("maps", "overlay")]
compiled = {id(value): value for module in modules for value in module.values() if hasattr(value, "signatures")}
print(sum(sum(value.stats.cache_hits.values()) for value in compiled.values()), kernels.cache_problem())
"""


def run(package, *, before="", **environment):
    own = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}  # settings of the user
    environment = own | {"PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"} | environment
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
    """Return a copy of the package without its cache."""
    target = tmp_path / "site" / "camrt"
    shutil.copytree(REPOSITORY / "src" / "camrt", target, ignore=shutil.ignore_patterns("__pycache__", "export"))
    return target.parent


def test_the_second_process_compiles_nothing(package):
    assert run(package) == (0, "None")
    hits, problem = run(package)
    assert hits >= 3  # every kernel that Python calls
    assert problem == "None"


def test_a_read_only_install_without_a_home_still_works(package, tmp_path):
    # Root may write to any folder. A file in the place of a folder stops root too.
    (package / "camrt" / "kernels" / "__pycache__").write_text("")
    home = tmp_path / "home"
    home.write_text("")
    hits, problem = run(package, HOME=str(home), XDG_CACHE_HOME=str(home), IPYTHONDIR=str(home))
    assert hits == 0
    assert "no locator available" in problem


FULL_DISK = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # from here on no file can exceed 1000 bytes
"""


def test_a_full_disk_is_reported_and_kernels_still_work(package, tmp_path):
    cache = tmp_path / "cache"
    hits, problem = run(package, before=FULL_DISK, NUMBA_CACHE_DIR=str(cache))
    assert hits == 0
    assert "the kernel cache cannot be used" in problem


def test_a_damaged_cache_is_reported_and_kernels_still_work(package, tmp_path):
    cache = tmp_path / "cache"
    run(package, NUMBA_CACHE_DIR=str(cache))
    files = [path for path in Path(cache).rglob("*") if path.is_file()]
    assert files
    for path in files:
        path.write_bytes(path.read_bytes()[:100])
    hits, problem = run(package, NUMBA_CACHE_DIR=str(cache))
    assert hits == 0
    assert "the kernel cache cannot be used" in problem
