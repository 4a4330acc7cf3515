"""Images for calibration and evaluation: how they are read, fitted and divided."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from camrt.errors import SourceError, UsageError
from camrt.export import quantize
from camrt.export.quantize.calibration import MAX_IMAGES, read_calibration
from camrt.model_file import InputGeometry
from support.tiny_models import write_linear


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
