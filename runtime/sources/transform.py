"""Crop, turn and mirror the frames of a source before anything else sees them."""

from dataclasses import dataclass, replace
from typing import Final, Literal

import cv2
import numpy as np

from camrt.errors import SourceError, UsageError
from camrt.images import Image
from camrt.runtime.frames import Frame, Sound, Source
from camrt.runtime.sources.files.video import VideoSource

ROTATIONS: Final = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
"""OpenCV's code of each rotation, in degrees clockwise."""
FLIPS: Final = {"horizontal": 1, "vertical": 0, "both": -1}
"""OpenCV's code of each flip: left and right change places, top and bottom, or both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameTransform:
    """A change of every frame: crop, then rotation, then flip. Network, overlay and outputs see the changed frame."""

    crop: tuple[int, int, int, int] | None = None
    """(x, y, width, height) of the part that is kept, in pixels of the source's frame."""
    rotation: Literal[0, 90, 180, 270] = 0
    """Degrees clockwise."""
    flip: Literal["", "horizontal", "vertical", "both"] = ""

    def __post_init__(self) -> None:
        """Check the values. Raises: UsageError."""
        if self.crop is not None and (min(self.crop) < 0 or min(self.crop[2:]) < 1):
            raise UsageError(f"the crop {_text(self.crop)} must be X,Y,W,H with W and H of at least 1 pixel")

    def apply(self, image: Image) -> Image:
        """Return the changed image, uint8 (h, w, 3), contiguous. Raises: SourceError: the crop exceeds the image."""
        if self.crop is not None:
            x, y, width, height = self.crop
            if y + height > image.shape[0] or x + width > image.shape[1]:
                size = f"{image.shape[1]}x{image.shape[0]}"
                raise SourceError(f"the crop {_text(self.crop)} does not lie within the image of {size}")
            image = image[y : y + height, x : x + width]
        if self.rotation:
            image = np.asarray(cv2.rotate(image, ROTATIONS[self.rotation]), np.uint8)
        if self.flip:
            image = np.asarray(cv2.flip(image, FLIPS[self.flip]), np.uint8)
        return np.ascontiguousarray(image)


class TransformedSource:
    """A source whose frames are changed by a `FrameTransform`. An image that the crop exceeds becomes a problem."""

    def __init__(self, source: Source, transform: FrameTransform) -> None:
        self._source = source
        self._transform = transform
        self._read_any = False
        self.name = source.name
        self.live = source.live
        self.fps = source.fps
        self.frame_count = source.frame_count
        self.problems = source.problems

    def read(self) -> Frame | None:
        """Return the next frame, or None at the end.

        Raises:
            SourceError: as the source does; or the crop exceeds a frame of a video or camera, or every image.
        """
        reason: SourceError | None = None
        while (frame := self._source.read()) is not None:
            self.frame_count = self._source.frame_count  # it grows with the pages of images
            try:
                image = self._transform.apply(frame.image)
            except SourceError as error:
                if frame.lost:  # a black image, of any size
                    return frame
                reason = SourceError(f"{frame.name}: {error}")
                if frame.file is None:
                    raise reason from error
                self.problems.append(str(reason))
                continue
            self._read_any = True
            return replace(frame, image=image)
        if reason is not None and not self._read_any:
            self.problems.remove(str(reason))
            raise reason
        return None

    @property
    def sound(self) -> Sound | None:
        """Sound of a video file."""
        return self._source.sound if isinstance(self._source, VideoSource) else None

    def close(self) -> None:
        """Close the source."""
        self._source.close()


def parse_crop(text: str) -> tuple[int, int, int, int]:
    """Return the crop that ``X,Y,W,H`` states. Raises: ValueError."""
    x, y, width, height = (int(part) for part in text.split(","))
    return x, y, width, height


def _text(crop: tuple[int, int, int, int]) -> str:
    return ",".join(map(str, crop))
