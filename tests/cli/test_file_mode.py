"""Recordings of cameras can be read by their owner only, unless a flag says otherwise."""

import os
import stat

import pytest

from support.command import camrt, refusal, started, succeeds
from support.serving import DEMO

pytestmark = pytest.mark.process

FLAGS = ("live", DEMO, "--source", "synthetic", "--frames", "3", "-o", "out.mp4", "-o", "out.avi", "-o", "images")


def modes(folder):
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("flags", "umask", "file", "folder"),
    [
        ([], 0o022, 0o600, 0o700),
        ([], 0o277, 0o400, 0o500),
        (["--mode", "640"], 0o077, 0o640, 0o750),
        (["--mode", "0664"], 0o022, 0o664, 0o775),
    ],
)
def test_recordings_have_the_mode(tmp_path, flags, umask, file, folder):
    if umask == 0o277 and os.geteuid() != 0:
        pytest.skip("only root can fill a folder that it may not write")
    before = os.umask(umask)
    try:
        succeeds(*FLAGS, "--events", "e.jsonl", *flags, cwd=tmp_path)
    finally:
        os.umask(before)
    found = modes(tmp_path)
    images = {name: file for name in found if name.endswith(".jpg")}
    assert len(images) == 3
    assert found == {"out.mp4": file, "out.avi": file, "e.jsonl": file, "images": folder, **images}


@pytest.mark.parametrize("mode", ["999", "640x", "rw-r-----", "040", "755", "4640"])
def test_a_mode_that_is_none_is_wrong_use(tmp_path, mode):
    done = camrt(*FLAGS, "--mode", mode, cwd=tmp_path)
    assert done.returncode == 2
    assert "three digits from 0 to 7, such as 640" in done.stderr
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("output", ["out.mp4", "out.avi", "e.jsonl"])
@pytest.mark.parametrize("more", [[], ["--overwrite"], ["--rotate", "1G"]])
def test_a_second_run_with_the_same_output_is_refused_and_changes_nothing(tmp_path, output, more):
    flag = "--events" if output == "e.jsonl" else "-o"
    none = ["-o", "none"] if output == "e.jsonl" else []
    words = ("live", DEMO, "--source", "synthetic", *none, flag, output, *more)
    with started(*words, cwd=tmp_path) as first:
        first.stderr.readline()  # it runs
        before = sorted(path.name for path in tmp_path.iterdir())
        error = refusal(*words, status=2, cwd=tmp_path)
        assert f"is being written by process {first.pid}; choose another name" in error or "exists" in error
        if more:
            assert "is being written by process" in error
        assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize("output", ["out.mp4", "out.avi", "e.jsonl"])
def test_links_of_others_are_not_written(tmp_path, output):
    precious = tmp_path / "precious"
    precious.write_bytes(b'{"frame": 1}\n')
    for name in {output, output.replace(".mp4", ".part.mp4")}:
        (tmp_path / name).symlink_to(precious)
    flag = "--events" if output == "e.jsonl" else "-o"
    none = ["-o", "none"] if output == "e.jsonl" else []
    words = ("live", DEMO, "--source", "synthetic", "--frames", "3", *none, flag, output, "--overwrite")
    done = started(*words, cwd=tmp_path)
    with done as process:
        _, errors = process.communicate(timeout=120)
    assert precious.read_bytes() == b'{"frame": 1}\n', errors
