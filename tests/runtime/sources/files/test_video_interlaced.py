"""Interlaced video is deinterlaced with PyAV and refused without it; no frame is memory of another video."""

import threading

import cv2
import numpy as np
import pytest

from camrt.runtime.sources import open_source
from camrt.runtime.sources.files.video import VideoSource
from support.video_files import encode, read_until_error, scene, woven

FIELDS = {"flags": "+ildct+ilme"}
KINDS = {
    "MPEG-2": ("tv.ts", "mpeg2video", {"options": {**FIELDS, "b": "6M"}}),
    "DV": ("tape.avi", "dvvideo", {}),
    "AVCHD": ("camcorder.m2ts", "libx264", {"options": {**FIELDS, "x264-params": "tff=1"}, "container": "mpegts"}),
    "ProRes": ("studio.mov", "prores_ks", {"options": FIELDS, "pixels": "yuv422p10le"}),
    "FFV1": ("archive.mkv", "ffv1", {"options": FIELDS}),
    "HEVC": ("dvb.mkv", "libx265", {"options": {"x265-params": "interlace=tff:log-level=none"}}),
    "MPEG-4": ("xvid.avi", "mpeg4", {"options": {**FIELDS, "b": "3M"}}),
}


def size_of(kind):
    return (576, 720) if kind == "DV" else (96, 128)


@pytest.fixture
def interlaced(tmp_path):
    """Return a function that writes an interlaced video of a kind."""

    def write(kind, count=12):
        name, codec, options = KINDS[kind]
        images = [woven(number, *size_of(kind)) for number in range(count)]
        return encode(tmp_path / name, images, codec, interlaced=True, **options)

    return write


def read_images(source):
    return [frame.image for frame in iter(source.read, None)]


@pytest.mark.input_kind(
    "video", "interlaced MPEG-2, DV, AVCHD, ProRes, FFV1, HEVC, MPEG-4", "source pictures", "one field"
)
@pytest.mark.parametrize("kind", KINDS)
def test_interlaced_frames_show_one_of_their_fields(interlaced, kind):
    source = VideoSource(interlaced(kind))
    images = read_images(source)
    assert (len(images), source.problems) == (12, [])
    for number, image in enumerate(images[1:-1], 1):  # the filter has no neighbour at the ends
        fields, comb = [scene(2 * number + field, *size_of(kind)) for field in (0, 1)], woven(number, *size_of(kind))
        moving = cv2.resize((fields[0] != fields[1]).any(axis=2).astype(np.uint8), image.shape[1::-1]) > 0
        to_top, to_bottom, to_comb = (
            np.abs(image.astype(int) - cv2.resize(other, image.shape[1::-1]))[moving].mean()
            for other in (*fields, comb)
        )
        assert min(to_top, to_bottom) < 25
        # x265 flags every second frame as bottom field first.
        assert (to_top if kind != "HEVC" else min(to_top, to_bottom)) < to_comb / 2


@pytest.mark.input_kind("video", "interlaced, without PyAV", "source pictures", "refused with the way out")
@pytest.mark.parametrize("kind", KINDS)
def test_without_pyav_interlaced_video_is_refused_or_right(interlaced, kind, without_pyav):
    path = interlaced(kind)
    without_pyav()
    source = VideoSource(path)
    images, error = read_until_error(source)
    assert source.read() is None
    if error is not None:  # OpenCV 4.13 and later
        assert images == []
        assert error.startswith(f"{path}: OpenCV {cv2.__version__} cannot convert frame 0 of this ")
        assert error.endswith("because it is interlaced or states unusual colours; pip install 'camrt[video]' reads it")
    for number, image in enumerate(images):
        expected = cv2.resize(woven(number, *size_of(kind)), image.shape[1::-1])
        assert np.abs(image.astype(int) - expected).mean() < 6


def test_without_pyav_an_interlaced_part_in_the_middle_is_refused_or_right(tmp_path, without_pyav):
    parts = []
    for number, interlaced in enumerate((False, True)):
        images = [(woven if interlaced else scene)(10 * number + step) for step in range(10)]
        options = FIELDS if interlaced else {}
        path = encode(tmp_path / f"{number}.m2v", images, "mpeg2video", interlaced=interlaced, options=options)
        parts.append(path.read_bytes())
    (tmp_path / "joined.mpg").write_bytes(b"".join(parts))
    without_pyav()
    images, error = read_until_error(VideoSource(tmp_path / "joined.mpg"))
    if error is not None:  # OpenCV 4.13 and later
        assert len(images) == 10
        assert "cannot convert frame 10 " in error
    for step, image in enumerate(images):
        assert np.abs(image.astype(int) - (woven if step >= 10 else scene)(step)).mean() < 6


@pytest.mark.parametrize("shade", [0, 60, 165, 255])
def test_without_pyav_a_still_picture_is_no_missing_frame(tmp_path, without_pyav, shade):
    """All frames are equal, as they would be if none was written; 60 and 165 are the values of the check itself."""
    path = encode(tmp_path / "still.mkv", [np.full((96, 128, 3), shade, np.uint8)] * 40, "ffv1", pixels="bgra")
    without_pyav()
    source = VideoSource(path)
    images = read_images(source)
    assert (len(images), source.problems) == (40, [])
    assert all((image == shade).all() for image in images)


@pytest.mark.usefixtures("decoder")
def test_two_sources_at_once_never_show_the_picture_of_the_other(interlaced, tmp_path):
    plain = encode(tmp_path / "plain.ts", [255 - scene(number) for number in range(12)], "mpeg2video")
    tv = interlaced("MPEG-2")
    shown, errors = {}, []

    def read(path, expected):
        for turn in range(5):
            images, error = read_until_error(open_source(str(path)))
            errors.append(error)
            for number, image in enumerate(images):
                shown[path, turn, number] = np.abs(image.astype(int) - expected(number)).mean()

    readers = [
        threading.Thread(target=read, args=(plain, lambda number: 255 - scene(number))),
        threading.Thread(target=read, args=(tv, lambda number: scene(2 * number))),
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(60)
    assert sum(key[0] == plain for key in shown) == 60
    assert max(shown.values()) < 8
    assert all("interlaced" in error for error in errors if error is not None)
