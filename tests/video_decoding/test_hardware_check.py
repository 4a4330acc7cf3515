"""A hardware decoder is used only while it gives the frames of the software decoder.

A GPU is simulated: FFmpeg decodes in software, and its frames get the memory layout that devices give (NV12, P010).
"""

import av
import numpy as np
import pytest

from camrt.errors import SourceError
from camrt.runtime.sources.files.video import VideoSource
from camrt.video_decoding import pyav_capture
from camrt.video_decoding.frame_converter import FrameConverter
from camrt.video_decoding.pyav_capture import PyavCapture
from support.video_files import encode, scene, woven

FRAMES = [scene(number) for number in range(24)]


def like_a_device(frame):
    """Return a frame as it comes from a device: its colours interleaved, deep values in the upper bits."""
    layouts = {"yuv420p": "nv12", "yuv422p": "nv16", "yuv444p": "nv24", "yuv420p10le": "p010le"}
    times = frame.pts, frame.time_base, frame.dts, frame.duration
    changed = frame.reformat(format=layouts[frame.format.name.replace("yuvj", "yuv")])
    changed.pts, changed.time_base, changed.dts, changed.duration = times
    return changed


@pytest.fixture
def device(monkeypatch):
    """Simulate a device: ``device(change)`` decodes with ``change(frame, number)``, which may raise an error."""

    def simulate(change=lambda frame, number: frame):
        def decoder(context):
            count = 0

            def decode(packet):
                nonlocal count
                frames = []
                for frame in context.decode(packet):
                    frames.append(change(like_a_device(frame), count))
                    count += 1
                return frames

            return decode

        monkeypatch.setattr(pyav_capture, "choose_device", lambda wanted: (None if wanted == "software" else "gpu", ""))
        monkeypatch.setattr(pyav_capture, "hardware", lambda name: None)
        monkeypatch.setattr(pyav_capture, "device_decoder", decoder)

    return simulate


def frames_of(path, decode):
    """Return images, times, the remark about the decoder at the start, and that at the end."""
    capture = PyavCapture(str(path), decode=decode)
    first, shown = capture.remark, []
    while True:
        more, image = capture.read()
        if not more:
            assert not capture.failure
            return shown, first, capture.remark
        shown.append((capture.get(0), capture.lasts_s, image.copy()))


def read_all(path, decode):
    source = VideoSource(path, decode=decode)
    while source.read() is not None:
        pass


def assert_equal(shown, expected):
    assert len(shown) == len(expected)
    for (time, lasts, image), (other_time, other_lasts, other) in zip(shown, expected, strict=True):
        assert (time, lasts) == (other_time, other_lasts)
        assert np.array_equal(image, other)


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le"])
@pytest.mark.parametrize("kind", ["plain", "full_range", "bt709", "turned", "interlaced", "stretched"])
@pytest.mark.input_kind(
    "video", "decoded by a (simulated) device: colours, turn, fields, pixel aspect", "FFmpeg", "equal"
)
def test_frames_of_a_device_are_shown_like_those_of_software(tmp_path, device, pixels, kind):
    options = {
        "full_range": {"full_range": True},
        "bt709": {"matrix": 1},
        "turned": {"turn": 90},
        "interlaced": {"interlaced": True},
        "stretched": {"aspect": 2},
    }.get(kind, {})
    images = [woven(number) for number in range(24)] if kind == "interlaced" else FRAMES
    path = encode(tmp_path / "a.mp4", images, pixels=pixels, **options)
    device()
    expected, _, remark = frames_of(path, "software")
    assert remark == ""
    shown, first, last = frames_of(path, "gpu")
    assert first == last == "decoded by gpu"
    assert_equal(shown, expected)


def shifted(frame, number):
    """Return a frame whose crop was forgotten: the picture stands two pixels further right."""
    moved = av.VideoFrame.from_ndarray(np.roll(frame.to_ndarray(), 2, axis=1), frame.format.name)
    moved.pts, moved.time_base, moved.dts, moved.duration = frame.pts, frame.time_base, frame.dts, frame.duration
    return moved


def other_matrix(frame, number):
    frame.colorspace = 9
    return frame


def later_drift(frame, number):
    return shifted(frame, number) if number == 5 else frame


@pytest.mark.parametrize("change", [shifted, other_matrix, later_drift])
def test_a_device_with_other_frames_is_not_used(tmp_path, device, change):
    path = encode(tmp_path / "a.mp4", FRAMES)
    device(change)
    expected, _, _ = frames_of(path, "software")
    shown, first, _ = frames_of(path, "auto")
    assert first == "decoded in software: gpu gives other frames than the software decoder"
    assert_equal(shown, expected)
    with pytest.raises(SourceError, match=r"^gpu gives other frames .*; without --decode gpu it is decoded in"):
        PyavCapture(str(path), decode="gpu")


@pytest.mark.parametrize("number", [0, 3, 8, 15, 23])
def test_a_file_goes_on_in_software_where_a_device_fails(tmp_path, device, number):
    def fail(frame, at):
        if at == number:
            raise av.error.ExternalError(1, "out of memory")
        return frame

    path = encode(tmp_path / "a.mp4", FRAMES)
    device(fail)
    expected, _, _ = frames_of(path, "software")
    shown, _, last = frames_of(path, "auto")
    assert last == "decoded in software: gpu cannot decode it: out of memory"
    assert_equal(shown, expected)
    with pytest.raises(SourceError, match=r"a.mp4.*: gpu cannot decode it: out of memory; without --decode gpu it"):
        read_all(path, "gpu")


def test_a_video_shorter_than_the_comparison_is_proven_at_its_end(tmp_path, device):
    path = encode(tmp_path / "a.mp4", FRAMES[:3])
    device()
    shown, first, _ = frames_of(path, "auto")
    assert first == "decoded by gpu"
    assert_equal(shown, frames_of(path, "software")[0])


def test_damage_in_a_file_is_left_to_the_software_decoder(tmp_path, device):
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (96, 128, 3), np.uint8) for _ in range(24)]
    path = encode(tmp_path / "a.mp4", images, options={"g": "24"})
    data = bytearray(path.read_bytes())
    place = len(data) * 5 // 8
    data[place : place + 3000] = bytes([170]) * 3000
    path.write_bytes(data)
    device()
    expected, _, _ = frames_of(path, "software")
    assert 12 < len(expected) < 24
    shown, begin, last = frames_of(path, "auto")
    assert begin == "decoded by gpu"
    assert last.startswith("decoded in software: gpu meets damaged data")
    assert_equal(shown, expected)


def test_a_file_whose_size_changes_goes_on_in_software(tmp_path, device):
    first = encode(tmp_path / "a.ts", FRAMES)
    second = encode(tmp_path / "b.ts", [scene(number, 120, 160) for number in range(24)])
    joined = tmp_path / "joined.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    device()
    expected, _, _ = frames_of(joined, "software")
    assert {image.shape for _, _, image in expected} == {(96, 128, 3), (120, 160, 3)}
    shown, begin, last = frames_of(joined, "auto")
    assert begin == "decoded by gpu"
    assert last == "decoded in software: gpu was proven for another size or kind of frames than the video has now"
    assert_equal(shown, expected)


@pytest.mark.parametrize("pixels", ["yuv420p10le", "yuv420p12le", "yuv422p10le", "yuv444p10le"])
def test_deep_frames_of_a_device_are_converted_like_planar_ones(pixels):
    deep = {"yuv420p10le": "p010le", "yuv420p12le": "p012le", "yuv422p10le": "p210le", "yuv444p10le": "p410le"}
    frame = av.VideoFrame(130, 98, pixels)
    random = np.random.default_rng(0)
    for plane in frame.planes:
        plane.update(random.integers(0, 4096 if "12" in pixels else 1024, plane.buffer_size // 2, np.uint16).tobytes())

    def shown(frame):
        return next(FrameConverter().convert(frame, 0.0, 0.0, None)).image

    assert np.array_equal(shown(frame.reformat(format=deep[pixels])), shown(frame))
