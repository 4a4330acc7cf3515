"""Pictures to calibrate on and others to judge by, prepared as the runtime prepares frames."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from camrt.errors import UsageError
from camrt.export.graph.synthetic_images import Pictures
from camrt.geometry import fit
from camrt.images import find_images, is_image, read_image
from camrt.model_file import InputGeometry

MOST: Final = 384
"""Pictures that are used at most, spread evenly over what is given: more take time and change nothing any more."""
SHARE: Final = 3
"""One picture of so many calibrates, the others judge."""
FEWEST: Final = 12
"""Fewer are not divided: each of them calibrates and judges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationPictures:
    """What was read; pictures are uint8 (N, H, W, 3), BGR, at the network's size."""

    calibrating: Pictures
    judging: Pictures
    names: tuple[str, ...]
    """Of those that judge: file name, or video and number of the frame."""
    held_out: bool
    """Those that judge are others than those that calibrate."""


def read_calibration(
    paths: str | Path | Sequence[str | Path], geometry: InputGeometry, *, divide: bool = True
) -> CalibrationPictures:
    """Read pictures and videos and divide them.

    Args:
        paths: folders with pictures, pictures, videos.
        geometry: how a frame becomes the network's input.
        divide: False where nothing is to be calibrated: then all of them judge.

    Raises:
        UsageError: there is none, or a file is neither an image nor a video.
        SourceError: an image cannot be read.
    """
    given = [Path(paths)] if isinstance(paths, (str, Path)) else [Path(path) for path in paths]
    for path in given:
        if not path.exists():
            raise UsageError(f"there is no {path}; calibrate on a folder of pictures, or a video, of what will be seen")
    videos = [path for path in given if path.is_file() and not is_image(path)]
    others = [path for path in given if path not in videos]
    files = find_images(others) if others or not videos else []
    each = MOST // (len(videos) + bool(files))
    inputs = [_fitted(read_image(file), geometry) for file in _spread(files, each)]
    names = [file.name for file in _spread(files, each)]
    for video in videos:
        for number, frame in _sampled(video, each, geometry):
            inputs.append(frame)
            names.append(f"{video.name}, frame {number}")
    pictures = np.stack(inputs)
    held_out = divide and len(pictures) >= FEWEST
    every = np.arange(len(pictures))
    calibrating = every[::SHARE] if held_out else every
    judging = np.setdiff1d(every, calibrating) if held_out else every
    return CalibrationPictures(
        calibrating=pictures[calibrating],
        judging=pictures[judging],
        names=tuple(names[number] for number in judging),
        held_out=held_out,
    )


def _spread(files: Sequence[Path], most: int) -> list[Path]:
    """Return up to ``most`` of the files, evenly."""
    return [files[round(number)] for number in np.linspace(0, len(files) - 1, min(len(files), most))]


def _sampled(video: Path, most: int, geometry: InputGeometry) -> list[tuple[int, NDArray[np.uint8]]]:
    """Return up to ``most`` frames, evenly over a video however long it is. What it says of its length may be wrong."""
    kept: list[tuple[int, NDArray[np.uint8]]] = []
    stride = 1
    for number, capture in _frames(video):
        if number % stride == 0:
            found, frame = capture.retrieve()
            if found:
                kept.append((number, _fitted(np.asarray(frame, np.uint8), geometry)))
        if len(kept) > most:
            kept, stride = kept[::2], 2 * stride
    if not kept:
        raise UsageError(f"{video} is neither an image nor a video that can be read")
    return kept


def _frames(video: Path) -> Iterator[tuple[int, cv2.VideoCapture]]:
    capture = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG)
    try:
        number = 0
        while capture.grab():
            yield number, capture
            number += 1
    finally:
        capture.release()


def _fitted(frame: NDArray[np.uint8], geometry: InputGeometry) -> NDArray[np.uint8]:
    out = np.empty((geometry.height, geometry.width, 3), np.uint8)
    fit(frame, geometry, out)
    return out
