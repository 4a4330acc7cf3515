"""Virtual environments in which one wheel differs from this one's."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from support import REPOSITORY
from support.needs import skip_or_fail

TIMEOUT_S = 900


def environment_with(folder, *wheels, without=()):
    """Make a virtual environment in ``folder`` that has what this one has, but other wheels from PyPI.

    ``wheels`` are requirements, installed without their dependencies; ``without`` are how names in ``site-packages``
    begin that it is not to have. Returns its Python.

    What it shares with this environment is linked, in a folder of its own that comes later on the path: pip writes
    through links, so the folder that it installs to must never hold one.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=TIMEOUT_S)
    python = Path(folder) / "bin" / "python"
    own = Path(folder, "lib", f"python{sys.version_info.major}.{sys.version_info.minor}", "site-packages")
    shared = Path(folder) / "shared"
    shared.mkdir()
    hidden = ("camrt", "_camrt", "__editable__", "pip", *without)
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith(hidden) and entry.suffix != ".pth":
            (shared / entry.name).symlink_to(entry)
    (own / "camrt.pth").write_text(f"{shared}\n{REPOSITORY / 'src'}\n")
    if wheels:
        assert not [entry for entry in own.rglob("*") if entry.is_symlink()]
        # With --target pip neither looks for nor removes what is installed elsewhere.
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", own, *wheels]
        done = subprocess.run(install, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        if done.returncode:
            skip_or_fail(f"{' '.join(wheels)} cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    return python


def run(python, *arguments, **changes):
    """Run the command line with another Python; returns ``returncode``, ``stdout`` and ``stderr``. No display."""
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "DISPLAY", "WAYLAND_DISPLAY")}
    return subprocess.run(
        [python, "-m", "camrt.cli", *map(str, arguments)],
        env=kept | changes,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
