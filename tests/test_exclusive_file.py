"""A file to write belongs to one process, and is never reached through a link."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from camrt.errors import SinkError, UsageError
from camrt.exclusive_file import open_exclusive, writer_of
from camrt.files import atomic_write, hidden_beside

_HOLD = "import os, sys; from camrt.exclusive_file import open_exclusive; from pathlib import Path; \
os.write(open_exclusive(Path(sys.argv[1])), b'held'); print('ready', flush=True); sys.stdin.read()"


@contextmanager
def held(path):
    """Let another process hold a file."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


@pytest.mark.process
@pytest.mark.parametrize("keep", [True, False])
def test_a_file_of_another_process_is_refused_and_stays_as_it_is(tmp_path, keep):
    path = tmp_path / "seen.jsonl"
    with held(path) as process:
        with pytest.raises(UsageError, match=f"seen.jsonl is being written by process {process.pid}; choose another"):
            open_exclusive(path, keep=keep)
        assert writer_of(path) == f"process {process.pid}"
        assert path.read_bytes() == b"held"
    assert writer_of(path) == ""
    os.close(open_exclusive(path, keep=keep))
    assert path.read_bytes() == (b"held" if keep else b"")


def test_a_file_is_opened_once_in_a_process(tmp_path):
    descriptor = open_exclusive(tmp_path / "file")
    with pytest.raises(UsageError, match=f"process {os.getpid()}"):
        open_exclusive(tmp_path / "file")
    os.close(descriptor)
    os.close(open_exclusive(tmp_path / "file"))


def test_kept_content_is_continued(tmp_path):
    (tmp_path / "file").write_bytes(b"first ")
    descriptor = open_exclusive(tmp_path / "file", keep=True)
    os.write(descriptor, b"second")
    os.close(descriptor)
    assert (tmp_path / "file").read_bytes() == b"first second"


@pytest.mark.parametrize("target", ["other", "missing", "folder"])
def test_a_link_is_not_followed(tmp_path, target):
    (tmp_path / "other").write_bytes(b"precious")
    (tmp_path / "folder").mkdir()
    (tmp_path / "seen.jsonl").symlink_to(target)
    with pytest.raises(SinkError, match=f"seen.jsonl is a link to {target}; name the file itself"):
        open_exclusive(tmp_path / "seen.jsonl")
    assert writer_of(tmp_path / "seen.jsonl") == ""
    assert (tmp_path / "other").read_bytes() == b"precious"
    assert not (tmp_path / "missing").exists()


def test_links_of_the_system_to_open_files_are_followed(tmp_path):
    with (tmp_path / "log").open("wb") as file:
        os.close(open_exclusive(Path(f"/dev/fd/{file.fileno()}")))


def test_a_pipe_can_be_written_by_several(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    writers = [open_exclusive(tmp_path / "pipe") for _ in range(2)]
    for writer in writers:
        os.write(writer, b"x")
    assert os.read(reader, 9) == b"xx"
    for descriptor in (*writers, reader):
        os.close(descriptor)


def test_a_file_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(SinkError, match="cannot be written: No such file or directory"):
        open_exclusive(tmp_path / "nowhere" / "file")


def test_a_link_under_the_hidden_name_of_an_output_is_removed(tmp_path):
    (tmp_path / "other").write_bytes(b"precious")
    hidden_beside(tmp_path / "out.json").symlink_to("other")
    with atomic_write(tmp_path / "out.json") as part:
        part.write_bytes(b"new")
    assert (tmp_path / "other").read_bytes() == b"precious"
    assert (tmp_path / "out.json").read_bytes() == b"new"
    assert not (tmp_path / "out.json").is_symlink()
