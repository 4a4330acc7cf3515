"""A crash-safe file never changes kept bytes before close."""

import os
import resource

import pytest

from camrt.errors import DiskFull, SinkError
from camrt.runtime.sinks.crash_safe_file import CrashSafeFile
from support.limits import largest_file


def test_kept_bytes_are_overwritten_only_in_close(tmp_path):
    path = tmp_path / "file"
    file = CrashSafeFile(path)
    file.write(b"head....")
    file.write(b"first")
    file.keep()
    file.seek(4)
    file.write(b"1234")
    assert file.tell() == 8
    file.write(b"FIRST, second")  # starts in the kept bytes, and continues behind them
    assert path.read_bytes() == b"head....first, second"
    assert file.seek(0, os.SEEK_END) == 21
    file.seek(-6, os.SEEK_CUR)
    file.write(b"SECOND")  # not kept yet, so it is overwritten at once
    assert path.read_bytes() == b"head....first, SECOND"
    file.keep()
    file.close()
    file.close()
    assert path.read_bytes() == b"head1234FIRST, SECOND"


def test_undo_removes_bytes_that_were_not_kept(tmp_path):
    path = tmp_path / "file"
    file = CrashSafeFile(path)
    file.write(b"one")
    file.keep()
    file.write(b"two")
    file.seek(0)
    file.write(b"ONE")
    file.undo()
    assert (path.read_bytes(), file.tell(), file.whole) == (b"one", 3, 3)
    file.write(b"three")
    file.keep()
    file.close()
    assert path.read_bytes() == b"onethree"


def test_append_continues_an_existing_file(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    file = CrashSafeFile(tmp_path / "file", append=True)
    file.write(b"new")
    file.undo()
    file.write(b"newer")
    file.keep()
    file.close()
    assert (tmp_path / "file").read_bytes() == b"oldnewer"


def test_a_full_disk_is_an_error_and_writing_continues_later(tmp_path):
    file = CrashSafeFile(tmp_path / "file")
    with largest_file(1000):
        file.write(bytes(900))
        file.keep()
        with pytest.raises(DiskFull, match="file cannot be written: the disk is full"):
            file.write(bytes(200))
        file.undo()
        assert (tmp_path / "file").stat().st_size == 900
        file.write(bytes(100))
        file.keep()
        with pytest.raises(DiskFull, match="File too large"):
            file.write(bytes(1))
    file.undo()
    file.write(bytes(200))
    file.keep()
    file.close()
    assert (tmp_path / "file").stat().st_size == 1200
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_an_unwritable_path_is_an_error_at_once(tmp_path):
    with pytest.raises(SinkError, match="cannot be written: No such file or directory"):
        CrashSafeFile(tmp_path / "nowhere" / "file")
