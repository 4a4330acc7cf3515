"""A file is written whole or not at all, and never over another one by accident."""

import os
import tempfile

import pytest

from camrt.errors import DiskFull, SinkError, UsageError
from camrt.files import (
    all_beside,
    atomic_write,
    check_target,
    file_name,
    hidden_beside,
    refuse_existing,
    temporary_folder,
    write_file,
)
from support.limits import largest_file


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file_is_replaced_when_the_block_ends(tmp_path):
    target = tmp_path / "page.html"
    target.write_text("old")
    with atomic_write(target) as part:
        part.write_text("new")
        assert target.read_text() == "old"
        assert (part.parent, part.suffix, part.name[0]) == (tmp_path, ".html", ".")
    assert (names(tmp_path), target.read_text()) == (["page.html"], "new")


def test_an_error_in_the_block_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "page.html"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_write(target) as part:  # noqa: PT012 - the block is what is tested
        part.write_text("half")
        raise KeyboardInterrupt
    assert (names(tmp_path), target.read_text()) == (["page.html"], "old")


def test_a_full_disk_leaves_the_old_file(tmp_path):
    target = tmp_path / "model.onnx"
    target.write_bytes(b"old")
    with largest_file(1000), pytest.raises(DiskFull, match=r"model\.onnx cannot be written: File too large"):
        write_file(target, bytes(2000))
    assert (names(tmp_path), target.read_bytes()) == (["model.onnx"], b"old")


def test_a_missing_folder_raises_sink_error(tmp_path):
    with pytest.raises(SinkError, match="none/a cannot be written: No such file or directory"):
        write_file(tmp_path / "none" / "a", b"")


def test_a_file_and_a_folder_are_refused_and_a_device_is_not(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(UsageError, match="a exists; choose another name, or replace it with --overwrite"):
        refuse_existing(tmp_path / "a", overwrite=False)
    refuse_existing(tmp_path / "a", overwrite=True)
    with pytest.raises(UsageError, match="is a folder; name a file in it"):
        refuse_existing(tmp_path, overwrite=True)
    refuse_existing(tmp_path / "new", overwrite=False)
    refuse_existing(tmp_path.joinpath("/dev/null"), overwrite=False)


def test_a_target_in_a_missing_folder_or_equal_to_the_input_is_refused(tmp_path):
    (tmp_path / "in").write_text("")
    (tmp_path / "link").symlink_to("in")
    check_target(tmp_path / "out", tmp_path / "in", overwrite=False)
    check_target(tmp_path / "out", tmp_path / "missing", overwrite=False)
    with pytest.raises(UsageError, match="link is the input itself"):
        check_target(tmp_path / "link", tmp_path / "in", overwrite=True)
    with pytest.raises(UsageError, match=r"there is no folder .*none; create it first"):
        check_target(tmp_path / "none" / "out", None, overwrite=False)


def test_all_hidden_parts_of_a_file_are_found_in_order(tmp_path):
    for name in (".seen.20.mp4", ".seen.3.mp4", ".other.1.mp4", ".seen.x.mp4", ".seen.1.avi"):
        (tmp_path / name).touch()
    (tmp_path / ".seen.4.mp4").mkdir()
    hidden_beside(tmp_path / "seen.mp4").touch()
    own = f".seen.{os.getpid()}.mp4"
    found = [path.name for path in all_beside(tmp_path / "seen.mp4")]
    assert found == sorted((".seen.3.mp4", ".seen.20.mp4", own), key=lambda name: int(name.split(".")[2]))


def test_a_name_that_is_too_long_is_cut_and_stays_unique():
    assert file_name("scan", ".part.mp4") == "scan.part.mp4"
    names_made = {file_name("猫" * 84 + str(number), ".part.mp4") for number in range(9)}
    assert len(names_made) == 9
    for name in names_made:
        assert 250 < len(name.encode()) <= 255
        assert name.endswith(".part.mp4")


@pytest.mark.parametrize("name", ["n" * 251 + ".mp4", "猫" * 83 + ".mp4"])
def test_a_file_with_a_name_of_the_greatest_length_is_written(tmp_path, name):
    write_file(tmp_path / name, b"new")
    assert (tmp_path / name).read_bytes() == b"new"
    hidden_beside(tmp_path / name).touch()
    assert all_beside(tmp_path / name) == [hidden_beside(tmp_path / name)]


def test_a_signal_while_a_temporary_folder_is_created_leaves_none(tmp_path, monkeypatch):
    create = os.mkdir

    def create_and_interrupt(*args, **kwargs):
        create(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(os, "mkdir", create_and_interrupt)
    with pytest.raises(KeyboardInterrupt), temporary_folder():
        pass
    assert names(tmp_path) == []


def test_a_temporary_folder_is_removed_with_its_files(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with temporary_folder() as folder:
        (folder / "a").write_text("")
        assert folder.parent == tmp_path
    assert names(tmp_path) == []
