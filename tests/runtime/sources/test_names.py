"""Unique names for the machine and short names for people."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camrt.runtime.sources.names import LONGEST_NAME, short_names, unique_names

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
