"""Virtual environments for tests that need other wheels. The environment of the tests is never changed."""

import json
import os
import subprocess
import sys
from pathlib import Path

from support import REPOSITORY
from support.needs import skip_or_fail

TIMEOUT_S = 900
CONSTRAINTS = REPOSITORY / "tests" / "constraints.txt"
SETTINGS = ("PYTHON", "PIP_TARGET", "PIP_PREFIX", "PIP_USER", "DISPLAY", "WAYLAND_DISPLAY", "VIRTUAL_ENV", "NUMBA")


def new_environment(folder):
    """Make a virtual environment with camrt and no extra, as a new user does, and return its Python."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=TIMEOUT_S)
    python = Path(folder) / "bin" / "python"
    pip_install(python, "--editable", REPOSITORY)
    return python


def wheels_beside(python, folder, *requirements):
    """Install wheels without dependencies into a folder, and return the variables that put it first on the path."""
    folder.mkdir()  # must be a real folder, because pip writes through links
    pip_install(python, "--no-deps", "--target", folder, *requirements)
    return {"PYTHONPATH": str(folder)}


def pip_install(python, *arguments):
    """Install packages with an environment's own pip, in the versions of ``tests/constraints.txt``."""
    command = ["-m", "pip", "install", "--quiet", "--no-compile", "--constraint", CONSTRAINTS, *arguments]
    done = run(python, *command, timeout=TIMEOUT_S)
    if done.returncode:
        skip_or_fail(f"pip cannot install {arguments[-1]}: {done.stderr.strip().splitlines()[-1]}")


def camrt(python, *arguments, **changes):
    """Run the command line with another Python, as `run` does."""
    return run(python, "-m", "camrt.cli", *arguments, **changes)


def run(python, *arguments, text_input="", timeout=120, **changes):
    """Run another Python with ``text_input`` as input. Display and settings of this process are left out."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    return subprocess.run(
        [python, *map(str, arguments)],
        env=variables | changes,
        input=text_input,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def succeeds(environment, *arguments, **changes):
    """Run an environment's Python, which must succeed; an environment is a Python and its variables."""
    python, first = environment
    done = run(python, *arguments, **first, **changes)
    assert done.returncode == 0, done.stderr
    return done


def refusal(environment, *arguments, status=1):
    """Return the error of a command that another environment refuses with an exit status."""
    python, first = environment
    done = camrt(python, *arguments, **first)
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line.removeprefix("camrt: ")


def inspect(environment, *arguments):
    """Return the report of ``camrt inspect`` and the lines on its standard error."""
    done = succeeds(environment, "-m", "camrt.cli", "inspect", *arguments, "--json")
    return json.loads(done.stdout), done.stderr.splitlines()
