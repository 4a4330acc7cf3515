"""Container image without Docker: the steps of the Dockerfile run in order on a fresh Debian."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from camrt.runtime.assets import DEMO_MODEL
from support import REPOSITORY
from support.needs import skip_or_fail
from support.wheels import TIMEOUT_S

pytestmark = pytest.mark.process

DOCKERFILE = REPOSITORY / "deploy" / "Dockerfile"
DEBIAN = "bookworm"
IMAGE_PYTHON = "3.11"
"""Version of Debian's own Python, which replaces the Python of the base image."""

READ_ONLY = """
set -e
mount --bind "$0" "$0"
mount -o remount,bind,ro "$0"
for folder in data cache tmp; do mount -t tmpfs tmpfs "$0/$folder"; done
chown 10001:10001 "$0/data" "$0/cache"
mount -t proc proc "$0/proc"
exec chroot "$0" setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs --inh-caps -all --bounding-set -all \
    env --ignore-environment "$@"
"""
"""Run a command as ``docker run --read-only --tmpfs /tmp --cap-drop all`` does, with two empty volumes."""

TWICE = 'cd /data; ! touch /opt/x || exit 9; "$0" "$@" && "$0" "$@" && ls -A /data && ls -A /cache/*'


@pytest.fixture
def root(tmp_path):
    """Yield the root of a fresh Debian with Python. It grows to nearly a gigabyte, so it is removed at the end."""
    if os.geteuid() != 0:
        skip_or_fail("only root can set up a Debian")
    if shutil.which("debootstrap") is None:
        skip_or_fail("debootstrap is not installed")
    root = tmp_path / "root"
    include = "--include=python3-venv,python-is-python3,ca-certificates"
    for needed in (["unshare", "--mount", "true"], ["debootstrap", "--variant=minbase", include, DEBIAN, root]):
        done = run(*needed)
        if done.returncode:
            skip_or_fail(f"{needed[0]}: {(done.stdout + done.stderr).strip()[-300:]}")
    yield root
    shutil.rmtree(root)


def run(*words, **options):
    return subprocess.run(
        list(map(str, words)), capture_output=True, text=True, timeout=TIMEOUT_S, check=False, **options
    )


def instructions(word):
    """Return the arguments of all instructions of one kind in the Dockerfile, in order."""
    lines = re.sub(r"^#.*\n|\\\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    return re.findall(rf"^{word} (.*)$", lines, re.MULTILINE)


def copy_sources(root):
    """Carry out the COPY instructions and return the folder of the sources."""
    source = root / instructions("WORKDIR")[0].lstrip("/")
    for line in instructions("COPY"):
        *paths, to = line.split()
        if paths[0].startswith("--from"):  # all stages share this root
            continue
        for path in paths:
            target = source / to / (path.rpartition("/")[2] if to.endswith("/") else "")
            target.parent.mkdir(parents=True, exist_ok=True)
            if (REPOSITORY / path).is_dir():
                shutil.copytree(REPOSITORY / path, target, symlinks=True)
            else:
                shutil.copy2(REPOSITORY / path, target)
    return source


def provide_wheels(root, source):
    """Download the wheels of the image with the pip of this machine, and return the settings that make it use them."""
    (extras,) = re.findall(r"'\.(\[.*?\])'", " ".join(instructions("RUN")))
    requirements = ["--constraint", source / "tests" / "constraints.txt", "hatchling", f"{source}{extras}"]
    compatible = ["--only-binary", ":all:", "--python-version", IMAGE_PYTHON]
    done = run(
        sys.executable, "-m", "pip", "download", "--quiet", "--dest", root / "wheels", *compatible, *requirements
    )
    if done.returncode:
        skip_or_fail(f"pip cannot download: {done.stderr.strip().splitlines()[-1]}")
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels"}


@pytest.mark.slow
def test_the_image_runs_without_root_on_a_read_only_file_system(root):
    source = copy_sources(root)
    settings = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"}
    settings |= provide_wheels(root, source)
    for step in instructions("RUN"):
        done = run("chroot", root, "sh", "-ec", f"cd /{source.relative_to(root)}; {step}", env=settings)
        assert done.returncode == 0, (step, done.stdout, done.stderr)

    (root / "etc" / "camrt").mkdir()
    settings_file = (REPOSITORY / "deploy" / "camrt.toml").read_text()
    (root / "etc" / "camrt" / "camrt.toml").write_text(settings_file.replace('source = "0"', 'source = "synthetic"'))
    shutil.copy2(DEMO_MODEL, root / "etc" / "camrt" / "model.onnx")

    assert instructions("USER") == ["10001:10001"]
    variables = [word.replace("$PATH", "/usr/bin:/bin") for word in " ".join(instructions("ENV")).split()]
    camrt = [*json.loads(instructions("ENTRYPOINT")[0]), *json.loads(instructions("CMD")[0]), "--frames", "20"]
    done = run("unshare", "--mount", "sh", "-c", READ_ONLY, root, *variables, "sh", "-c", TWICE, *camrt)
    assert done.returncode == 0, done.stderr
    assert "Read-only file system" in done.stderr
    assert done.stderr.count("20 frames in") == 2
    files = done.stdout.split()
    assert {"seen.000001.mp4", "seen.jsonl", "seen.mp4"} <= set(files)
    assert any(name.endswith(".nbc") for name in files)  # the compiled kernels stay for the next start
