"""A small disk: a tmpfs that only one command and its children see."""

import subprocess

from support.needs import environment, skip_or_fail

_MOUNT = 'mount -t tmpfs -o size="$0" tmpfs disk && exec "$@"'


def start(command, folder, *, size, **options):
    """Start a command in ``folder``, where ``disk`` is a file system of ``size``."""
    (folder / "disk").mkdir()
    inside = ["unshare", "--map-root-user", "--mount", "sh", "-c", _MOUNT, size, *map(str, command)]
    return subprocess.Popen(
        inside,
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def run(command, folder, *, size):
    """Run a command as `start` does, to its end, and return it with its ``stdout`` and ``stderr``."""
    with start(command, folder, size=size) as process:
        output, errors = process.communicate(timeout=120)
    require(errors)
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def require(errors):
    """Skip the test if the system refused to make the disk."""
    if "mount:" in errors or "unshare:" in errors:
        skip_or_fail(f"no small disk can be made here: {errors.strip()}")
