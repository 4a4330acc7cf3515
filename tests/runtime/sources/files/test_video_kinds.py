"""Videos of many codecs, colours, sizes, times and containers give the pictures that were put into them."""

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image

from camrt.errors import SourceError
from camrt.runtime.sources.files.video import VideoSource
from support.video_files import encode, read_until_error, scene, trim

SCENES = [scene(number) for number in range(60)]


def read_frames(path):
    source = VideoSource(path)
    frames = list(iter(source.read, None))
    assert source.problems == []
    return frames


def difference(image, expected):
    assert image.shape == expected.shape
    return np.abs(image.astype(int) - expected).mean()


@pytest.mark.input_kind("video", "BT.601 and BT.709, limited and full range", "source pictures", "mean within 4 levels")
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", [None, 1, 5, 6])
def test_colours_are_those_of_matrix_and_range(tmp_path, matrix, full_range, decoder):
    if (decoder, matrix) == ("OpenCV", 1):
        matrix = 5  # before 4.13 it converts everything with BT.601
    path = encode(tmp_path / "a.mp4", SCENES[:5], pixels="yuv444p", matrix=matrix, full_range=full_range)
    assert [difference(frame.image, SCENES[frame.index]) < 4 for frame in read_frames(path)] == [True] * 5


@pytest.mark.input_kind("video", "reserved or unknown colour marks", "source pictures", "read; refused without PyAV")
@pytest.mark.parametrize("mark", ["color_trc", "color_primaries", "colorspace"])
@pytest.mark.parametrize("value", [0, 3, 22, 255])
def test_colour_marks_without_a_meaning_are_ignored_or_refused(tmp_path, mark, value, decoder):
    path = encode(tmp_path / "a.ts", SCENES[:5], "mpeg2video", options={"b": "4M"}, marks={mark: value})
    images, error = read_until_error(VideoSource(path))
    assert all(difference(image, SCENES[number]) < 6 for number, image in enumerate(images))
    if len(images) < 5:  # OpenCV 4.13 and later returns True and converts nothing
        assert decoder == "OpenCV"
        assert "states unusual colours; pip install 'camrt[video]'" in error


@pytest.mark.input_kind("video", "colour matrices that FFmpeg does not convert (YCgCo, ICtCp)", "FFmpeg", "refused")
@pytest.mark.parametrize("matrix", ["YCgCo", "ictcp"])
def test_a_colour_matrix_that_cannot_be_converted_is_refused(tmp_path, matrix):
    codec, library = ("libx264", "x264-params") if matrix == "YCgCo" else ("libx265", "x265-params")
    options = {library: f"log-level=none:colormatrix={matrix}" if codec == "libx265" else f"colormatrix={matrix}"}
    source = VideoSource(encode(tmp_path / "a.mkv", SCENES[:5], codec, pixels="yuv444p", options=options))
    with pytest.raises(
        SourceError, match=r"a\.mkv: FFmpeg cannot convert its colours \(pixel format .*, colour matrix"
    ):
        source.read()


@pytest.mark.input_kind(
    "video", "10 bits, 4:2:2, 4:4:4, RGB, grey, 16-bit grey", "source pictures", "mean within 4 levels"
)
@pytest.mark.parametrize(
    ("codec", "pixels"),
    [
        ("libx265", "yuv420p10le"),
        ("libx264", "yuv422p10le"),
        ("libx264", "yuv444p"),
        ("prores_ks", "yuv422p10le"),
        ("ffv1", "gray"),
        ("ffv1", "gray16le"),
        ("ffv1", "bgra"),
        ("libx264rgb", "bgr24"),
    ],
)
@pytest.mark.usefixtures("decoder")
def test_pixel_formats_are_converted(tmp_path, codec, pixels):
    path = encode(tmp_path / ("a.mov" if codec == "prores_ks" else "a.mkv"), SCENES[:5], codec, pixels=pixels)
    for frame in read_frames(path):
        expected = SCENES[frame.index]
        if pixels.startswith("gray"):
            expected = cv2.cvtColor(cv2.cvtColor(expected, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        assert difference(frame.image, expected) < 4


@pytest.mark.input_kind("video", "odd width and height", "source pictures", "mean within 3 levels")
@pytest.mark.usefixtures("decoder")
def test_odd_sizes_are_kept(tmp_path):
    images = [scene(number, 77, 101) for number in range(4)]
    for frame in read_frames(encode(tmp_path / "a.mkv", images, "ffv1")):
        assert difference(frame.image, images[frame.index]) < 3
        assert frame.image.flags.c_contiguous


@pytest.mark.input_kind("video", "AV1", "source pictures", "read; refused without a decoder")
def test_av1_is_read_with_pyav_and_named_without(tmp_path, without_pyav):
    path = encode(tmp_path / "a.mp4", SCENES[:8], "libsvtav1", options={"preset": "12"})
    assert [difference(frame.image, SCENES[frame.index]) < 6 for frame in read_frames(path)] == [True] * 8
    without_pyav()
    source = VideoSource(path)
    with pytest.raises(SourceError, match=r"a\.mp4: OpenCV .* \(AV1 video\): .*pip install 'camrt\[video\]'"):
        source.read()


@pytest.mark.input_kind("video", "pixels that are not square", "aspect ratio of the header", "scaled to square")
@pytest.mark.parametrize(
    ("size", "aspect", "turn", "shown"),
    [
        ((576, 704), Fraction(16, 11), None, (576, 1024)),
        ((480, 720), Fraction(8, 9), None, (540, 720)),
        ((96, 128), Fraction(4, 3), 90, (171, 96)),
        ((96, 128), Fraction(1, 1000), None, (96, 128)),  # a damaged header
    ],
)
@pytest.mark.usefixtures("decoder")
def test_pixels_become_square(tmp_path, size, aspect, turn, shown):
    path = encode(tmp_path / "a.mp4", [scene(0, *size)] * 3, aspect=aspect, turn=turn)
    expected = scene(0, *size)
    expected = expected if turn is None else cv2.rotate(expected, cv2.ROTATE_90_COUNTERCLOCKWISE)
    expected = cv2.resize(expected, shown[::-1], interpolation=cv2.INTER_CUBIC)
    assert [difference(frame.image, expected) < 4 for frame in read_frames(path)] == [True] * 3


@pytest.mark.input_kind("video", "turned by 90, 180 and 270 degrees", "source pictures", "upright")
@pytest.mark.parametrize(
    ("turn", "code"),
    [(90, cv2.ROTATE_90_COUNTERCLOCKWISE), (180, cv2.ROTATE_180), (-90, cv2.ROTATE_90_CLOCKWISE)],
)
@pytest.mark.usefixtures("decoder")
def test_a_turned_video_is_upright(tmp_path, turn, code):
    for frame in read_frames(encode(tmp_path / "a.mp4", SCENES[:3], turn=turn)):
        assert difference(frame.image, cv2.rotate(SCENES[frame.index], code)) < 4


@pytest.mark.input_kind("video", "mirrored by the display matrix", "source pictures", "mirrored back with PyAV")
@pytest.mark.parametrize(("hflip", "vflip", "code"), [(True, False, 1), (False, True, 0)])
def test_a_mirrored_video_is_shown_as_players_do(tmp_path, hflip, vflip, code):
    with av.open(str(tmp_path / "a.mp4"), "w") as video:
        stream = video.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        stream.set_display_rotation(0, hflip=hflip, vflip=vflip)
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(SCENES[number], format="bgr24")
            frame.pts = number
            video.mux(stream.encode(frame))
        video.mux(stream.encode(None))
    for frame in read_frames(tmp_path / "a.mp4"):
        assert difference(frame.image, cv2.flip(SCENES[frame.index], code)) < 4


@pytest.mark.input_kind("video", "trimmed with an edit list", "source pictures", "complete, hidden frames left out")
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@pytest.mark.usefixtures("decoder")
def test_a_trimmed_video_is_whole(tmp_path, suffix):
    whole = encode(tmp_path / f"whole{suffix}", SCENES, options={"g": "30", "bf": "2"})
    cut = trim(whole, tmp_path / f"cut{suffix}", 47)
    assert _samples(cut) == 30  # from the key frame on
    frames = read_frames(cut)
    assert len(frames) == VideoSource(cut).frame_count == 13
    assert difference(frames[0].image, SCENES[47]) < 4


def _samples(path):
    with av.open(str(path)) as video:
        return video.streams.video[0].frames


@pytest.mark.input_kind("video", "varying frame rate with long pauses", "times of the file", "equal within 1 ms")
@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
@pytest.mark.usefixtures("decoder")
def test_varying_times_are_kept(tmp_path, suffix):
    times_ms = [0, 40, 80, 3000, 3040, 3500, 90000, 90040]
    frames = read_frames(encode(tmp_path / f"a{suffix}", SCENES[:8], times_ms=times_ms))
    assert [frame.time_s for frame in frames] == pytest.approx([time / 1000 for time in times_ms], abs=1e-3)


@pytest.mark.input_kind("video", "animated GIF with transparency and disposal", "Pillow", "pictures and times equal")
def test_an_animated_gif_has_its_own_times(tmp_path):
    images = []
    for number in range(4):
        images.append(Image.new("RGBA", (64, 48), (0, 0, 0, 0)))
        images[-1].paste((255, 0, 0, 255), (10 * number, 5, 10 * number + 10, 20))
    durations = [100, 700, 40, 1500]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=durations, disposal=2)
    frames = read_frames(tmp_path / "a.gif")
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.1, 0.8, 0.84])
    assert [frame.lasts_s for frame in frames] == pytest.approx([0.1, 0.7, 0.04, 1.5])
    for frame, image in zip(frames, images, strict=True):
        white = Image.new("RGBA", image.size, "white")
        assert difference(frame.image, np.array(Image.alpha_composite(white, image))[..., 2::-1]) < 1


@pytest.mark.input_kind("video", "raw H.264 and MJPEG without times", "source pictures", "every frame, evenly spaced")
@pytest.mark.parametrize(
    ("name", "codec", "pixels"), [("a.h264", "libx264", "yuv420p"), ("a.mjpeg", "mjpeg", "yuvj420p")]
)
@pytest.mark.usefixtures("decoder")
def test_a_raw_stream_gets_even_times(tmp_path, name, codec, pixels):
    path = encode(tmp_path / name, SCENES[:20], codec, pixels=pixels, container=name.split(".")[1])
    frames = read_frames(path)
    assert [frame.time_s for frame in frames] == pytest.approx([index / 25 for index in range(20)], abs=1e-3)
    assert max(difference(frame.image, SCENES[frame.index]) for frame in frames) < 6


@pytest.mark.input_kind("video", "AVI with B-frames", "source pictures", "in order, evenly spaced")
def test_avi_with_b_frames_gets_times_in_the_order_of_presentation(tmp_path):
    frames = read_frames(encode(tmp_path / "a.avi", SCENES, options={"bf": "3", "b-adapt": "0"}))
    assert [frame.time_s for frame in frames] == pytest.approx([index / 25 for index in range(60)], abs=1e-3)
    assert max(difference(frame.image, SCENES[frame.index]) for frame in frames) < 4


@pytest.mark.input_kind("video", "joined MPEG-TS recordings", "source pictures", "times go on")
@pytest.mark.usefixtures("decoder")
def test_times_go_on_in_a_joined_recording(tmp_path):
    part = encode(tmp_path / "part.ts", SCENES, options={"g": "12"}).read_bytes()
    (tmp_path / "joined.ts").write_bytes(part + part)
    times = np.array([frame.time_s for frame in read_frames(tmp_path / "joined.ts")])
    assert len(times) == 120
    assert (np.diff(times) > 0).all()
    assert times[-1] < 6


@pytest.mark.input_kind(
    "video", "recording that begins within an open GOP", "source pictures", "from the first whole frame"
)
@pytest.mark.usefixtures("decoder")
def test_frames_before_the_first_key_frame_are_left_out(tmp_path):
    data = encode(tmp_path / "a.ts", SCENES, "mpeg2video", options={"g": "12", "bf": "2", "b": "4M"}).read_bytes()
    (tmp_path / "cut.ts").write_bytes(data[len(data) // 3 // 188 * 188 :])
    frames = read_frames(tmp_path / "cut.ts")
    first = 60 - len(frames)
    assert 20 <= first <= 30
    assert max(difference(frame.image, SCENES[first + frame.index]) for frame in frames) < 6


@pytest.mark.input_kind("video", "cover picture before the video", "source pictures", "the video is read")
@pytest.mark.usefixtures("decoder")
def test_a_cover_picture_is_not_the_video(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as video:
        cover = video.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt, cover.disposition = 64, 48, "yuvj420p", Disposition.attached_pic
        stream = video.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        video.mux(cover.encode(av.VideoFrame(64, 48, "yuvj420p")))
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(SCENES[number], format="bgr24")
            frame.pts = number
            video.mux(stream.encode(frame))
        video.mux(stream.encode(None))
    assert [difference(frame.image, SCENES[frame.index]) < 4 for frame in read_frames(tmp_path / "a.mp4")] == [True] * 5


def test_each_frame_has_its_own_size_with_pyav(tmp_path):
    parts = [
        encode(tmp_path / f"{height}.mjpeg", [scene(0, height)] * 3, "mjpeg", pixels="yuvj420p", container="mjpeg")
        for height in (96, 48)
    ]
    (tmp_path / "a.mjpeg").write_bytes(b"".join(part.read_bytes() for part in parts))
    frames = read_frames(tmp_path / "a.mjpeg")
    assert [frame.image.shape for frame in frames] == [(96, 128, 3)] * 3 + [(48, 128, 3)] * 3
    assert difference(frames[-1].image, scene(0, 48)) < 6


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<!doctype html><html>" + b"x" * 999, "it is a web page"),
        (b"%PDF-1.7 " + b"\x80" * 999, "it is a PDF document"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "it is a Git LFS pointer.*: git lfs pull"),
        (b"\0\0\0\x20ftypisom" + b"\0" * 999, "it is truncated or damaged.* \\(MP4 or QuickTime\\)"),
        (b"ID3\4" + b"\0" * 999, "it is an audio file"),
    ],
)
@pytest.mark.usefixtures("decoder")
def test_the_first_bytes_decide_the_reason_of_an_error(tmp_path, content, reason):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(SourceError, match=rf"a\.mp4 cannot be opened as a video \({len(content)} bytes\): {reason}"):
        VideoSource(tmp_path / "a.mp4")


@pytest.mark.input_kind("video", "audio file", "its streams", "refused: it has no video")
def test_an_audio_file_has_no_video(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as video:
        stream = video.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 44100
        video.mux(stream.encode(frame))
        video.mux(stream.encode(None))
    with pytest.raises(SourceError, match="it has no video, only audio"):
        VideoSource(tmp_path / "a.mp4")
