"""Images for calibration and evaluation: how they are read, fitted and divided."""

import re
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from camrt.errors import SourceError, UsageError
from camrt.export import quantize
from camrt.export.quantize.calibration import MAX_IMAGES, read_calibration
from camrt.model_file import InputGeometry
from support.tiny_models import write_linear
from support.video_files import encode, scene, woven


def test_one_image_in_three_is_for_calibration(photos):
    geometry = InputGeometry(width=16, height=12)
    images = read_calibration(photos, geometry)
    assert images.held_out
    assert (len(images.calibration), len(images.evaluation), len(images.names)) == (6, 12, 12)
    calibration = {image.tobytes() for image in images.calibration}
    assert not any(image.tobytes() in calibration for image in images.evaluation)


def test_images_are_cropped_as_the_runtime_crops_frames(tmp_path):
    frame = np.zeros((30, 60, 3), np.uint8)
    frame[:, 19:41] = 200  # the centre crop of 60x30 for an input of 10x15, and the pixels that the filter reaches
    cv2.imwrite(str(tmp_path / "wide.png"), frame)
    images = read_calibration(tmp_path / "wide.png", InputGeometry(width=10, height=15, resize="crop"))
    assert (images.evaluation == 200).all()
    assert not images.held_out


def test_long_video_is_sampled_evenly(tmp_path):
    frames = MAX_IMAGES + 100
    writer = cv2.VideoWriter(str(tmp_path / "long.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 25, (32, 32))
    for number in range(frames):
        writer.write(np.full((32, 32, 3), number * 255 // frames, np.uint8))
    writer.release()
    images = read_calibration(tmp_path / "long.mp4", InputGeometry(width=8, height=8))
    used = len(images.calibration) + len(images.evaluation)
    assert MAX_IMAGES / 2 < used <= MAX_IMAGES
    brightness = np.concatenate([images.calibration, images.evaluation]).mean(axis=(1, 2, 3))
    assert brightness.min() < 10
    assert brightness.max() > 240
    assert images.names[0] == "long.mp4, frame 2"


def images_or_error(video):
    try:
        return read_calibration(video, InputGeometry(width=128, height=96)), None
    except SourceError as error:
        return None, str(error)


@pytest.mark.input_kind(
    "video", "interlaced, for calibration", "source pictures", "deinterlaced; without PyAV refused with the way out"
)
@pytest.mark.parametrize("suffix", [".ts", ".mkv"])
def test_interlaced_video_is_deinterlaced_or_refused(tmp_path, decoder, suffix):
    video = encode(
        tmp_path / f"tv{suffix}",
        [woven(number) for number in range(15)],
        "mpeg2video" if suffix == ".ts" else "ffv1",
        interlaced=True,
        options={"flags": "+ildct+ilme", "b": "6M"},
    )
    images, error = images_or_error(video)
    if error is not None:
        assert decoder == "OpenCV"  # 4.13 and later
        assert error.startswith(f"{video}: OpenCV {cv2.__version__} cannot convert frame 0 of this ")
        assert error.endswith("pip install 'camrt[video]' reads it")
        return
    assert (len(images.calibration), len(images.evaluation)) == (5, 10)
    for image, number in zip(images.evaluation[1:-1], [2, 4, 5, 7, 8, 10, 11, 13], strict=True):
        expected = woven(number) if decoder == "OpenCV" else scene(2 * number)
        assert np.abs(image.astype(int) - expected).mean() < 6


def test_part_of_a_video_that_cannot_be_converted_is_refused_or_right(tmp_path, decoder):
    """A joined recording: the second part is interlaced, so checking the first frame is not enough."""
    parts = []
    for interlaced in (False, True):
        images = [(woven if interlaced else scene)(step) for step in range(15)]
        options = {"b": "6M", **({"flags": "+ildct+ilme"} if interlaced else {})}
        path = tmp_path / f"{interlaced}.m2v"
        parts.append(encode(path, images, "mpeg2video", interlaced=interlaced, options=options).read_bytes())
    (tmp_path / "joined.mpg").write_bytes(b"".join(parts))
    images, error = images_or_error(tmp_path / "joined.mpg")
    if error is not None:
        assert decoder == "OpenCV"  # 4.13 and later
        assert "cannot convert frame 15 of this " in error
        return
    last = images.evaluation[-2:]
    assert min(np.abs(image.astype(int) - scene(2 * step)).mean() for step in (13, 14) for image in last) < 6


def test_damaged_frames_of_a_video_are_reported(tmp_path, caplog):
    video = encode(tmp_path / "clip.mp4", [scene(number) for number in range(60)], options={"g": "5"})
    data = bytearray(video.read_bytes())
    start = data.index(b"mdat") + 3000
    data[start : start + 2000] = bytes(2000)
    video.write_bytes(data)
    images = read_calibration(video, InputGeometry(width=128, height=96))
    assert 30 < len(images.calibration) + len(images.evaluation) < 60
    assert re.search(rf"{re.escape(str(video))}: \d+ damaged frames after [\d.]+ s were skipped", caplog.text)


def test_every_frame_of_an_animation_is_used(tmp_path):
    """FFmpeg does not read an animated WebP; the runtime reads it with Pillow, and so does the calibration."""
    frames = [PIL.Image.new("RGB", (16, 16), (10 * number, 20, 30)) for number in range(14)]
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:], lossless=True, duration=40)
    images = read_calibration(tmp_path / "moving.webp", InputGeometry(width=16, height=16))
    pixels = np.concatenate([images.calibration, images.evaluation])[:, 8, 8]
    assert sorted(map(tuple, pixels.tolist())) == [(30, 20, 10 * number) for number in range(14)]


@pytest.mark.parametrize(
    ("paths", "error", "message"),
    [
        (["nowhere"], UsageError, "there is no nowhere"),
        (["empty"], UsageError, "no images in empty"),
        (["notes.txt"], UsageError, "notes.txt is a text file, neither an image nor a video"),
        (["broken.png"], SourceError, "broken.png is a text file, neither an image nor a video"),
        ([], UsageError, "no images in an empty list"),
    ],
)
def test_path_without_images_is_named(paths, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("notes.txt").write_text("no video")
    Path("broken.png").write_bytes(b"no image")
    write_linear(Path("in.onnx"))
    with pytest.raises(error, match=message):
        quantize("in.onnx", "out.onnx", calibration=paths)
    assert not Path("out.onnx").exists()
