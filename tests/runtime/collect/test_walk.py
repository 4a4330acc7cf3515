"""The walk yields the files that `list_folder` lists, in the same order, without keeping them."""

import pytest

from camrt.errors import SourceError
from camrt.media_files import list_folder
from camrt.runtime.collect.walk import files_in_order

PIXEL = b"P5 1 1 255\n\0"  # a PGM image


def write(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(PIXEL)


def walked(root):
    left_out = []
    files = list(files_in_order(root, lambda name, kind: left_out.append((name, kind))))
    return files, left_out


def test_the_order_is_that_of_list_folder(tmp_path):
    names = ("b/2.pgm", "b/10.pgm", "b.pgm", "b1/x.pgm", "B0.pgm", "b/1/deep.pgm", "b-1.pgm", "b 1/y.pgm", "10.pgm")
    write(tmp_path, *names, "9/1.pgm", "9.pgm", "a/a/a/a.pgm", "ä.pgm", "b/.hidden/z.pgm", ".hidden.pgm")
    files, left_out = walked(tmp_path)
    assert [path for path, _ in files] == list_folder(tmp_path, subfolders=True).images
    assert not left_out
    folders = {path.name: folders for path, folders in files}
    assert (folders["deep.pgm"], folders["9.pgm"], folders["a.pgm"]) == (("b", "1"), (), ("a", "a", "a"))


def test_each_folder_is_read_once_and_the_path_without_a_link_comes_first(tmp_path):
    write(tmp_path, "z/cat/1.pgm", "elsewhere/2.pgm")
    (tmp_path / "data").mkdir()
    (tmp_path / "z").rename(tmp_path / "data" / "z")
    (tmp_path / "data" / "a").symlink_to(tmp_path / "data" / "z")
    (tmp_path / "data" / "z" / "up").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "link").symlink_to(tmp_path / "elsewhere")
    files, left_out = walked(tmp_path / "data")
    names = [str(path.relative_to(tmp_path / "data")) for path, _ in files]
    assert names == ["link/2.pgm", "z/cat/1.pgm"]
    assert left_out == [(name, "a link to a folder that is read already") for name in ("a", "z/up")]


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path):
    with pytest.raises(SourceError, match="cannot be listed: No such file"):
        walked(tmp_path / "missing")
