"""A video that is made from a file keeps the file's sound and the times of its frames, or says what is left out."""

import shutil
import sys
from itertools import islice

import av
import numpy as np
import pytest
from PIL import Image

from camrt.runtime.frames import Rendered, StreamItem
from camrt.runtime.sinks import Rotation, VideoSink
from camrt.runtime.sources.files.video import VideoSource
from support.video_files import beep_starts, beeps, decode_sound, encode, encode_with_sound, frame_times, scene

SCENES = [scene(number) for number in range(75)]
SYNC_S = 0.012
"""Half a frame of AAC."""


def copy_video(source_path, path, frames=None, **options):
    """Write the frames of a video as a recorder does, and return what the sink tells."""
    told = []
    source = VideoSource(source_path)
    sink = VideoSink(path, fps=source.fps, timed=True, sound=source.sound, tell=told.append, **options)
    for frame in islice(iter(source.read, None), frames):
        sink.write(Rendered(StreamItem(frame, None, frame.index), frame.image))
    sink.close()
    source.close()
    return told


def assert_in_sync(path, original):
    """Compare the times of frames and beeps, both relative to the first frame; the first beep may be cut."""
    times, expected = frame_times(path), frame_times(original)
    assert np.subtract(times, times[0]) == pytest.approx(np.subtract(expected, expected[0]), abs=0.001)
    beeps_after_frame = np.subtract(beep_starts(path), times[0])
    assert beeps_after_frame[1:] == pytest.approx(np.subtract(beep_starts(original), expected[0])[1:], abs=SYNC_S)


@pytest.mark.input_kind("video", "sound: AAC, MP3, Opus, FLAC, PCM", "the file itself", "copied without loss")
@pytest.mark.parametrize(
    ("name", "codec", "copies"),
    [
        ("a.mp4", "aac", (".mp4", ".mov", ".mkv", ".m4v")),
        ("a.mp4", "libmp3lame", (".mp4", ".mkv")),
        ("a.mkv", "libopus", (".mp4", ".mkv")),
        ("a.mkv", "flac", (".mp4", ".mkv")),
        ("a.mov", "pcm_s16le", (".mov", ".mkv")),
    ],
)
def test_sound_is_copied_where_players_expect_its_codec(tmp_path, name, codec, copies):
    original = encode_with_sound(tmp_path / name, SCENES, beeps(3.0), codec)
    sound, _, kind = decode_sound(original)
    for suffix in copies:
        assert copy_video(original, tmp_path / f"out{suffix}") == []
        copied, _, copied_kind = decode_sound(tmp_path / f"out{suffix}")
        assert copied_kind == kind
        assert abs(len(copied) - len(sound)) < 3 * 1152
        assert_in_sync(tmp_path / f"out{suffix}", original)
        (tmp_path / f"out{suffix}").unlink()


@pytest.mark.input_kind(
    "video", "sound of another codec (MP2, PCM, AAC in MPEG-TS)", "the file itself", "encoded to AAC"
)
@pytest.mark.parametrize(
    ("name", "codec", "container"), [("a.mpg", "mp2", None), ("a.avi", "pcm_s16le", None), ("a.ts", "aac", "mpegts")]
)
def test_other_sound_is_encoded(tmp_path, name, codec, container):
    original = encode_with_sound(tmp_path / name, SCENES, beeps(3.0), codec, container=container)
    assert copy_video(original, tmp_path / "out.mp4") == []
    assert decode_sound(tmp_path / "out.mp4")[2] == "aac"
    assert_in_sync(tmp_path / "out.mp4", original)


@pytest.mark.input_kind("video", "sound that begins before or after the picture", "the file itself", "in sync")
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
@pytest.mark.parametrize("delays", [{"sound_starts_s": 0.72}, {"video_starts_s": 0.8}])
def test_the_distance_of_picture_and_sound_stays(tmp_path, suffix, codec, delays):
    original = encode_with_sound(tmp_path / "a.mkv", SCENES, beeps(3.0), codec, **delays)
    assert copy_video(original, tmp_path / f"out{suffix}") == []
    assert_in_sync(tmp_path / f"out{suffix}", original)


@pytest.mark.input_kind("video", "varying frame rate with sound", "the file itself", "times and sound in sync")
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_frames_with_varying_times_stay_in_sync(tmp_path, suffix):
    times_ms = [0, 40, 80, 2000, 2040, 2500, *range(30_000, 30_400, 33)]
    original = encode_with_sound(tmp_path / "a.mkv", SCENES[: len(times_ms)], beeps(31.0), times_ms=times_ms)
    assert copy_video(original, tmp_path / f"out{suffix}") == []
    assert len(beep_starts(tmp_path / f"out{suffix}")) == 62
    assert_in_sync(tmp_path / f"out{suffix}", original)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_pause_longer_than_a_minute_keeps_its_length(tmp_path, suffix):
    times_ms = [0, 40, 90_000, 90_040]
    original = encode(tmp_path / "a.mkv", SCENES[:4], times_ms=times_ms)
    assert copy_video(original, tmp_path / f"out{suffix}") == []
    assert frame_times(tmp_path / f"out{suffix}") == pytest.approx([time / 1000 for time in times_ms], abs=0.001)


def test_the_last_picture_of_a_gif_is_shown_as_long_as_in_the_gif(tmp_path):
    images = [Image.fromarray(image[..., ::-1]) for image in SCENES[:3]]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=[100, 700, 1500])
    assert copy_video(tmp_path / "a.gif", tmp_path / "out.mp4") == []
    assert frame_times(tmp_path / "out.mp4") == pytest.approx([0, 0.1, 0.8], abs=0.001)
    with av.open(str(tmp_path / "out.mp4")) as video:
        assert video.duration / av.time_base == pytest.approx(2.3, abs=0.01)


@pytest.mark.input_kind("video", "joined MPEG-TS recordings with sound", "the parts", "in sync in each part")
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_sound_stays_in_sync_in_a_joined_recording(tmp_path, suffix):
    part = encode_with_sound(tmp_path / "part.ts", SCENES, beeps(3.0), container="mpegts")
    (tmp_path / "joined.ts").write_bytes(part.read_bytes() * 2)
    assert copy_video(tmp_path / "joined.ts", tmp_path / f"out{suffix}") == []
    times, starts = frame_times(tmp_path / f"out{suffix}"), beep_starts(tmp_path / f"out{suffix}")
    assert len(times) == 150
    for first in (0, 75):
        expected = np.subtract(beep_starts(part), frame_times(part)[0])[1:] + times[first]
        assert all(min(abs(start - found) for found in starts) < 0.05 for start in expected)


def test_every_sound_track_is_kept(tmp_path):
    original = encode_with_sound(tmp_path / "a.mp4", SCENES, beeps(3.0), tracks=2)
    assert copy_video(original, tmp_path / "out.mp4") == []
    assert len(beep_starts(tmp_path / "out.mp4", track=1)) == 6


def test_sound_ends_with_the_last_picture_if_the_run_was_stopped(tmp_path):
    original = encode_with_sound(tmp_path / "a.mp4", SCENES, beeps(3.0))
    copy_video(original, tmp_path / "out.mp4", frames=30)
    assert len(decode_sound(tmp_path / "out.mp4")[0]) / 48_000 == pytest.approx(1.2, abs=0.03)


def test_sound_that_is_longer_than_the_picture_is_kept(tmp_path):
    original = encode_with_sound(tmp_path / "a.mp4", SCENES[:25], beeps(3.0))
    assert copy_video(original, tmp_path / "out.mp4") == []
    assert len(beep_starts(tmp_path / "out.mp4")) == 6


def test_each_file_of_a_rotation_has_its_part_of_the_sound(tmp_path):
    noise = [np.random.default_rng(number).integers(0, 255, (96, 128, 3), np.uint8) for number in range(75)]
    original = encode_with_sound(tmp_path / "a.mp4", noise, beeps(3.0))
    copy_video(original, tmp_path / "out.mp4", rotation=Rotation(size=120_000, keep=10**9))
    parts = [*sorted(tmp_path.glob("out.0*.mp4")), tmp_path / "out.mp4"]
    assert len(parts) > 2
    begins_s, starts = 0.0, []
    for part in parts:
        times = frame_times(part)
        assert times[0] == pytest.approx(0, abs=0.001)
        starts += [begins_s + start for start in beep_starts(part)]
        begins_s += times[-1] + 0.04
    whole = beep_starts(original)[1:]
    assert all(min(abs(start - found) for found in starts) < 0.03 for start in whole)


@pytest.mark.input_kind("video", "sound, without PyAV", "the file itself", "left out, and said")
@pytest.mark.parametrize(
    ("name", "codec", "line"),
    [
        ("a.mp4", "aac", "is left out"),
        ("a.mkv", "libopus", "is left out"),
        ("a.avi", "pcm_s16le", "is left out"),
        ("a.ts", "aac", "if it has any, is left out"),
        ("silent.mp4", None, None),
        ("silent.mkv", None, None),
    ],
)
def test_without_pyav_the_loss_of_sound_is_said(tmp_path, monkeypatch, name, codec, line):
    original = tmp_path / name
    if codec is None:
        encode(original, SCENES)
    else:
        encode_with_sound(original, SCENES, beeps(1.0), codec)
    monkeypatch.setitem(sys.modules, "av", None)
    told = copy_video(original, tmp_path / "out.mp4")
    if line is None:
        assert told == []
    else:
        assert [text.replace(",", "") for text in told] == [
            f"{tmp_path / 'out.mp4'}: the sound of {original} {line}; pip install 'camrt[video]' keeps it".replace(
                ",", ""
            )
        ]


def test_avi_has_no_sound_and_says_so(tmp_path):
    original = encode_with_sound(tmp_path / "a.mp4", SCENES, beeps(1.0))
    assert copy_video(original, tmp_path / "out.avi") == [
        f"{tmp_path / 'out.avi'}: the sound of {original} is left out"
    ]


@pytest.mark.parametrize(("times_ms", "said"), [([0, 40, 80, 2000, 2040], True), ([0, 40, 80, 120, 160], False)])
def test_without_pyav_uneven_times_are_said_to_be_lost(tmp_path, monkeypatch, times_ms, said):
    original = encode(tmp_path / "a.mkv", SCENES[:5], times_ms=times_ms)
    monkeypatch.setitem(sys.modules, "av", None)
    told = copy_video(original, tmp_path / "out.mp4")
    assert told == ([f"{tmp_path / 'out.mp4'}: its frames are spread evenly, not at their times"] if said else [])


def test_a_video_with_sound_can_be_played_before_it_is_finished(tmp_path):
    original = encode_with_sound(tmp_path / "a.mp4", SCENES, beeps(3.0))
    source = VideoSource(original)
    sink = VideoSink(tmp_path / "out.mp4", fps=25, timed=True, sound=source.sound)
    for frame in islice(iter(source.read, None), 60):
        sink.write(Rendered(StreamItem(frame, None, frame.index), frame.image))
    shutil.copy(tmp_path / "out.part.mp4", tmp_path / "so_far.mp4")
    assert len(frame_times(tmp_path / "so_far.mp4")) > 40
    assert len(beep_starts(tmp_path / "so_far.mp4")) >= 4
    sink.close()
    source.close()
