"""Unique names for the machine and short names for people."""

import json

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camrt.errors import SourceError
from camrt.runtime.sources import open_source, open_sources
from camrt.runtime.sources.names import LONGEST_NAME, short_names, unique_names
from camrt.text import is_utf8, one_line
from support.video_files import encode

LONG_DEVICE = "/dev/v4l/by-id/usb-046d_HD_Pro_Webcam_C920_A1B2C3D4-video-index0"
PATHS = st.lists(st.sampled_from(["a", "b", "film.mp4", "garage", "x" * 40, "(2)"]), min_size=1, max_size=4)
NAMES = st.one_of(
    st.text(min_size=1),
    PATHS.map("/".join),
    PATHS.map(lambda parts: "/" + "/".join(parts)),
    PATHS.map(lambda parts: "rtsp://user:secret@camera/" + "/".join(parts)),
    PATHS.map(lambda parts: "http://camera/" + "/".join(parts)),
    st.integers(0, 3).map(lambda number: f"camera 0 ({number})"),
)


def test_equal_names_are_numbered_in_their_order():
    names = ["camera 0", "film.mp4", "camera 0", "camera 0"]
    assert unique_names(names) == ["camera 0", "film.mp4", "camera 0 (2)", "camera 0 (3)"]
    assert unique_names(["a (2)", "a", "a"]) == ["a (2)", "a", "a (3)"]


@given(st.lists(NAMES, max_size=12))
def test_unique_names_are_unique_and_keep_the_first_of_each(names):
    unique = unique_names(names)
    assert len(set(unique)) == len(names)
    assert unique[:1] == names[:1]
    assert all(new.startswith(old) for new, old in zip(unique, names, strict=True))


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["camera 0", "synthetic", "gst:v4l2src"], ["camera 0", "synthetic", "gst:v4l2src"]),
        (["/dev/video0", "videos/film.mp4", "photos/"], ["video0", "film.mp4", "photos"]),
        (["day 1/garage/film.mp4", "day 1/hall/film.mp4"], ["garage/film.mp4", "hall/film.mp4"]),
        (["/1/garage/film.mp4", "/2/garage/film.mp4", "b.mp4"], ["1/garage/film.mp4", "2/garage/film.mp4", "b.mp4"]),
        (["film.mp4", "hall/film.mp4", "/film.mp4"], ["film.mp4", "hall/film.mp4", "film.mp4 (2)"]),
        (["film.mp4", "film.mp4 (2)"], ["film.mp4", "film.mp4 (2)"]),
        (["rtsp://user:secret@192.168.1.20/stream1"], ["192.168.1.20/#d0e0"]),
        (["rtsp://a/#1f2e", "rtsp://b/#1f2e", "rtsp://b:8554/"], ["a/#1f2e", "b/#1f2e", "b:8554"]),
        (["rtsp://camera/#1f2e", "http://camera/#1f2e"], ["camera/#1f2e", "camera/#1f2e (2)"]),
        (["http://a-camera-of-a-long-name.example/#1f2e"], ["a-camera-of-a-...e.example/#1f2e"]),
        ([LONG_DEVICE], ["usb-046d_HD_Pr...D4-video-index0"]),
    ],
)
def test_a_short_name_keeps_what_tells_the_sources_apart(names, short):
    assert short_names(names) == short


@given(st.lists(NAMES, unique=True, max_size=12))
def test_short_names_of_unique_names_are_unique_and_short(names):
    short = short_names(names)
    assert len(set(short)) == len(names)
    assert all(0 < len(name) <= LONGEST_NAME for name in short)
    assert not any("secret" in name for name in short)


@pytest.mark.parametrize("stem", ["caf\udce9", "two\nlines", "clear\x1b[2J", "cod\u202egpj"])
@pytest.mark.parametrize("kind", ["image", "pages", "folder", "glob", "video", "animation"])
def test_a_name_is_made_printable_once_for_every_reader(stem, kind, tmp_path, decoder):
    text, names = write_source(tmp_path, stem, kind)
    if kind == "video" and decoder == "OpenCV" and not is_utf8(text):  # OpenCV would end the process
        with pytest.raises(SourceError, match="opens no path that is not UTF-8; rename it, or pip install"):
            open_source(text)
        return
    source = open_source(text)
    frames = list(iter(source.read, None))
    assert source.name == one_line(text)
    assert [frame.name for frame in frames] == [one_line(name) for name in names]
    for name in (source.name, *(frame.name for frame in frames)):
        assert name.isprintable()
        assert json.loads(json.dumps(name).encode()) == name
        assert name.encode().decode() == name
    assert source.problems == []


def write_source(folder, stem, kind):
    """Write a source whose name has ``stem``; return the text that opens it, and the raw names of its frames."""
    pictures = [PIL.Image.new("RGB", (32, 24), (90 * number, 20, 30)) for number in range(2)]
    if kind == "folder":
        (folder / stem).mkdir()
        pictures[0].save(folder / stem / "photo.png")
        return str(folder / stem), [f"{folder / stem / 'photo.png'}"]
    if kind == "video":
        path = encode(folder / "clip.mp4", [np.zeros((24, 32, 3), np.uint8)] * 2).rename(folder / f"{stem}.mp4")
        return str(path), [str(path)] * 2
    suffix = {"pages": ".tif", "animation": ".webp"}.get(kind, ".png")
    path = folder / f"{stem}{suffix}"
    several = {"save_all": True, "append_images": pictures[1:]} if kind in ("pages", "animation") else {}
    with path.open("w+b") as file:
        pictures[0].save(file, format={".tif": "TIFF", ".webp": "WEBP", ".png": "PNG"}[suffix], **several)
    if kind == "glob":
        return f"{folder}/{stem.replace('[', '[[]')}*", [str(path)]
    if kind == "pages":
        return str(path), [f"{path}, page {page}" for page in (1, 2)]
    return str(path), [str(path)] * (2 if kind == "animation" else 1)


def test_names_that_are_equal_when_they_are_printable_are_numbered(tmp_path):
    """One file has a line break in its name, the other the two characters that stand for it."""
    texts = []
    for stem in ("a\nb", r"a\nb"):
        PIL.Image.new("RGB", (8, 8)).save(tmp_path / f"{stem}.png")
        texts.append(str(tmp_path / f"{stem}.png"))
    sources = open_sources(texts)
    assert [source.name for source in sources] == [texts[1], f"{texts[1]} (2)"]


def test_an_error_and_the_name_in_it_agree(tmp_path):
    """So a source that reconnects can take the name off the reason."""
    (tmp_path / "a\nb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    source = open_source(str(tmp_path / "a\nb.png"))
    with pytest.raises(SourceError) as error:
        source.read()
    assert str(error.value).startswith(source.name)
