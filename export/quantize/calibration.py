"""Images for calibration and evaluation, fitted to the network's input as the runtime fits frames."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from camrt.errors import UsageError
from camrt.export.graph.synthetic_images import Images
from camrt.geometry import fit
from camrt.images import Image, find_images, read_pictures
from camrt.media_files import kind_of_input
from camrt.model_file import InputGeometry
from camrt.text import one_line
from camrt.video_decoding.capture import quiet_decoders
from camrt.video_decoding.file import VideoFile

_log = logging.getLogger("camrt")

MAX_IMAGES: Final = 384
"""More images take time and change nothing; they are picked evenly from all."""
CALIBRATION_SHARE: Final = 3
"""One image in this many is for calibration, the others are for evaluation."""
MIN_TO_DIVIDE: Final = 12
"""With fewer images, all are for both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationImages:
    """Images, uint8 (N, H, W, 3), BGR, at the network's size."""

    calibration: Images
    evaluation: Images
    names: tuple[str, ...]
    """Of the images for evaluation: file name, or video and frame number."""
    held_out: bool
    """No image is for both."""


def read_calibration(
    paths: str | Path | Sequence[str | Path], geometry: InputGeometry, *, divide: bool = True
) -> CalibrationImages:
    """Read images and videos, and divide them into calibration and evaluation.

    Interlaced videos need PyAV (extra ``video``); damaged frames that are skipped are logged.

    Args:
        paths: folders of images, image files, or videos.
        geometry: how a frame becomes the network's input.
        divide: False without calibration: all images are for evaluation.

    Raises:
        UsageError: there are no images, or a file is neither an image nor a video.
        SourceError: an image or a frame of a video cannot be read, or a file with the name of one is none.
    """
    quiet_decoders()
    sources = [Path(paths)] if isinstance(paths, (str, Path)) else [Path(path) for path in paths]
    for path in sources:
        if not path.exists():
            raise UsageError(
                f"there is no {path}; calibrate on a folder of images, or a video, of what the network will see"
            )
    videos = [path for path in sources if path.is_file() and kind_of_input(path).kind != "image"]
    others = [path for path in sources if path not in videos]
    files = find_images(others) if others or not videos else []
    limit = MAX_IMAGES // (len(videos) + bool(files))
    files = _pick_evenly(files, limit)
    inputs, names = [], []
    for file in files:
        for picture in read_pictures(file):
            inputs.append(_fit(picture.image, geometry))
            names.append(file.name if picture.pages == 1 else f"{file.name}, page {picture.page}")
    for video in videos:
        for number, frame in _sample(video, limit, geometry):
            inputs.append(frame)
            names.append(f"{video.name}, frame {number}")
    images = np.stack(inputs)
    held_out = divide and len(images) >= MIN_TO_DIVIDE
    indices = np.arange(len(images))
    calibration = indices[::CALIBRATION_SHARE] if held_out else indices
    evaluation = np.setdiff1d(indices, calibration) if held_out else indices
    return CalibrationImages(
        calibration=images[calibration],
        evaluation=images[evaluation],
        names=tuple(names[index] for index in evaluation),
        held_out=held_out,
    )


def _pick_evenly(files: Sequence[Path], limit: int) -> list[Path]:
    """Return at most ``limit`` of the files, evenly spread."""
    return [files[round(index)] for index in np.linspace(0, len(files) - 1, min(len(files), limit))]


def _sample(video: Path, limit: int, geometry: InputGeometry) -> list[tuple[int, Image]]:
    """Return at most ``limit`` frames with their numbers, evenly spread; the video's stated length may be wrong."""
    frames: list[tuple[int, Image]] = []
    stride = 1
    for number, frame in enumerate(_frames(video)):
        if number % stride == 0:
            frames.append((number, _fit(frame, geometry)))
        if len(frames) > limit:
            frames, stride = frames[::2], 2 * stride
    return frames


def _frames(video: Path) -> Iterator[Image]:
    """Yield the frames of a video or an animation, as the runtime shows them. Raises: SourceError."""
    if kind_of_input(video).animated:
        yield from (picture.image for picture in read_pictures(video))
        return
    file = VideoFile(video)
    try:
        while (frame := file.read()) is not None:
            yield frame
    finally:
        file.close()
    for problem in file.problems:
        _log.warning("%s", one_line(problem))


def _fit(frame: Image, geometry: InputGeometry) -> Image:
    """Return the network's input for a frame."""
    network_input = np.empty((geometry.height, geometry.width, 3), np.uint8)
    fit(frame, geometry, network_input)
    return network_input
