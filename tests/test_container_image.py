"""Container image, without Docker: the steps of the Dockerfile run one after the other on a fresh Debian."""

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
ITS_PYTHON = "3.11"
"""Debian's own, in place of the one in the image that it begins with."""

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
"""Run a command as ``docker run --read-only --tmpfs /tmp --cap-drop all`` does, with two volumes that are empty."""

TWICE = 'cd /data; ! touch /opt/x || exit 9; "$0" "$@" && "$0" "$@" && ls -A /data && ls -A /cache/*'


@pytest.fixture
def root(tmp_path):
    """Return the root of a Debian as it comes, with its Python; most of a gigabyte before long, so it is not kept."""
    if os.geteuid() != 0:
        pytest.skip("only root can set up a Debian")
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
    """Return what the Dockerfile says under one of its words, in order."""
    lines = re.sub(r"^#.*\n|\\\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    return re.findall(rf"^{word} (.*)$", lines, re.MULTILINE)


def copy_what_it_copies(root):
    """Carry out COPY; returns the folder that the sources are in."""
    source = root / instructions("WORKDIR")[0].lstrip("/")
    for line in instructions("COPY"):
        *paths, to = line.split()
        if paths[0].startswith("--from"):  # here the stages are one
            continue
        for path in paths:
            target = source / to / (path.rpartition("/")[2] if to.endswith("/") else "")
            target.parent.mkdir(parents=True, exist_ok=True)
            if (REPOSITORY / path).is_dir():
                shutil.copytree(REPOSITORY / path, target, symlinks=True)
            else:
                shutil.copy2(REPOSITORY / path, target)
    return source


def give_it_wheels(root, source):
    """Give it what its pip would fetch, since only this machine's knows how; returns the settings for that."""
    (extras,) = re.findall(r"'\.(\[.*?\])'", " ".join(instructions("RUN")))
    wanted = ["--constraint", source / "tests" / "constraints.txt", "hatchling", f"{source}{extras}"]
    fitting = ["--only-binary", ":all:", "--python-version", ITS_PYTHON]
    done = run(sys.executable, "-m", "pip", "download", "--quiet", "--dest", root / "wheels", *fitting, *wanted)
    if done.returncode:
        skip_or_fail(f"pip cannot download: {done.stderr.strip().splitlines()[-1]}")
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels"}


@pytest.mark.slow
def test_what_the_image_installs_runs_as_nobody_on_a_root_that_cannot_be_written(root):
    source = copy_what_it_copies(root)
    settings = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"}
    settings |= give_it_wheels(root, source)
    for step in instructions("RUN"):
        done = run("chroot", root, "sh", "-ec", f"cd /{source.relative_to(root)}; {step}", env=settings)
        assert done.returncode == 0, (step, done.stdout, done.stderr)

    (root / "etc" / "camrt").mkdir()
    given = (REPOSITORY / "deploy" / "camrt.toml").read_text()
    (root / "etc" / "camrt" / "camrt.toml").write_text(given.replace('source = "0"', 'source = "synthetic"'))
    shutil.copy2(DEMO_MODEL, root / "etc" / "camrt" / "model.onnx")

    assert instructions("USER") == ["10001:10001"]
    told = [word.replace("$PATH", "/usr/bin:/bin") for word in " ".join(instructions("ENV")).split()]
    camrt = [*json.loads(instructions("ENTRYPOINT")[0]), *json.loads(instructions("CMD")[0]), "--frames", "20"]
    done = run("unshare", "--mount", "sh", "-c", READ_ONLY, root, *told, "sh", "-c", TWICE, *camrt)
    assert done.returncode == 0, done.stderr
    assert "Read-only file system" in done.stderr
    assert done.stderr.count("20 frames in") == 2
    left = done.stdout.split()
    assert {"seen.000001.mp4", "seen.jsonl", "seen.mp4"} <= set(left)
    assert any(name.endswith(".nbc") for name in left)  # the kernels are kept for the next start
