"""Text on images: classes with bars, boxes, speed, help."""

from collections.abc import Mapping, Sequence

import cv2

from camrt.images import Image
from camrt.kernels import Box
from camrt.runtime.maps.box_tracks import TrackedBox
from camrt.text import one_line

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WHITE = (255, 255, 255)
_BLACK = (0, 0, 0)
_BAR = (80, 200, 80)
_DIM = 0.45
_SMALLEST = 0.35
"""Scale of the font below which it cannot be read."""
_LARGEST_SHARE = 1 / 8
"""Share of an image that one block of text takes at most."""


class Hud:
    """Writes on images of one size; text and margins grow with the image.

    Control characters and invalid ones are escaped, because OpenCV crashes when it draws the latter. On a small image
    the map matters more: the text takes at most an eighth of it, and is left out below a size.
    """

    def __init__(self, width: int, height: int) -> None:
        self._scale = max(_SMALLEST, min(width / 640, height / 480) * 0.5)
        self._line = max(10, round(36 * self._scale))
        self._pad = max(3, round(12 * self._scale))
        self._stroke = max(1, round(2 * self._scale))

    def bars(self, image: Image, top: Sequence[tuple[int, str, float]], explained: int) -> None:
        """Write the best classes with a bar for the score in the upper left; the explained class is marked."""
        width = min(image.shape[1], round(image.shape[1] * 0.45) + 2 * self._pad)
        room = round(image.shape[0] * image.shape[1] * _LARGEST_SHARE / max(1, width))
        top = top[: max(0, room - self._pad) // self._line]
        if not top or width < 8 * self._line:  # too narrow for a label
            return
        panel = self._shade(image, 0, 0, width, len(top) * self._line + self._pad)
        for row, (class_id, label, score) in enumerate(top):
            bottom = (row + 1) * self._line
            share = min(1.0, max(0.0, score)) if score == score else 0.0
            cv2.rectangle(
                panel,
                (self._pad, bottom - self._line // 5),
                (self._pad + round((width - 2 * self._pad) * share), bottom),
                _BAR,
                cv2.FILLED,
            )
            mark = "> " if class_id == explained else ""
            self._write(panel, f"{mark}{label}  {score:.2f}", self._pad, bottom - self._line // 3)

    def boxes(self, image: Image, boxes: Sequence[TrackedBox | Box]) -> None:
        """Draw boxes, with their identities if they have some; a dark line beside the light one shows everywhere."""
        for color, stroke in ((_BLACK, 2 * self._stroke + 1), (_WHITE, self._stroke)):
            for box in boxes:
                cv2.rectangle(image, (box.x0, box.y0), (box.x1 - 1, box.y1 - 1), color, stroke)
                if isinstance(box, TrackedBox) and box.x1 - box.x0 > 2 * self._line < 2 * (box.y1 - box.y0):
                    corner = box.x0 + self._pad, box.y0 + self._line
                    cv2.putText(image, f"#{box.number}", corner, _FONT, self._scale, color, stroke, cv2.LINE_AA)

    def caption(self, image: Image, text: str) -> None:
        """Write the class of the map along the lower edge."""
        height = self._line + self._pad
        if height > image.shape[0] * _LARGEST_SHARE:
            return
        panel = self._shade(image, 0, image.shape[0] - height, image.shape[1], height)
        self._write(panel, text, self._pad, self._line)

    def status(self, image: Image, text: str) -> None:
        """Write speed and provider in the upper right."""
        width = self._width(text, self._scale) + 2 * self._pad
        height = self._line + self._pad
        if width > image.shape[1] // 2 or height > image.shape[0] * _LARGEST_SHARE:
            return
        panel = self._shade(image, image.shape[1] - width, 0, width, height)
        self._write(panel, text, self._pad, self._line)

    def name(self, image: Image, text: str) -> None:
        """Write the name of a camera along the upper edge, in the middle."""
        width = self._width(text, self._scale) + 2 * self._pad
        if width <= image.shape[1]:
            panel = self._shade(image, (image.shape[1] - width) // 2, 0, width, self._line + self._pad)
            self._write(panel, text, self._pad, self._line)

    def help(self, image: Image, keys: Mapping[str, str]) -> None:
        """List keys and their meanings in the middle."""
        height = min(image.shape[0], len(keys) * self._line + 2 * self._pad)
        width = min(image.shape[1], round(520 * self._scale))
        panel = self._shade(image, (image.shape[1] - width) // 2, (image.shape[0] - height) // 2, width, height)
        for row, (key, meaning) in enumerate(keys.items()):
            self._write(panel, f"{key:>6}  {meaning}", self._pad, (row + 1) * self._line)

    def lost(self, image: Image, last: Image, reason: str) -> None:
        """Fill ``image`` with the darkened ``last`` and write NO SIGNAL and the reason across its middle."""
        cv2.convertScaleAbs(last, dst=image, alpha=_DIM)
        middle = image.shape[0] // 2
        for text, scale, y in (("NO SIGNAL", 2 * self._scale, middle), (reason, self._scale, middle + 2 * self._line)):
            wide = self._width(text, scale)
            fit = min(1.0, (image.shape[1] - 2 * self._pad) / max(1, wide))
            x = round(image.shape[1] - wide * fit) // 2
            self._put(image, text, x, y, scale * max(0.1, fit))

    def _shade(self, image: Image, x: int, y: int, width: int, height: int) -> Image:
        """Darken a part of the image so that white text is readable; returns that part."""
        panel = image[max(0, y) : y + height, max(0, x) : x + width]
        if panel.size:
            cv2.convertScaleAbs(panel, dst=panel, alpha=_DIM)
        return panel

    def _write(self, panel: Image, text: str, x: int, y: int) -> None:
        if panel.size:
            self._put(panel, text, x, y, self._scale)

    def _width(self, text: str, scale: float) -> int:
        return int(cv2.getTextSize(one_line(text), _FONT, scale, self._stroke)[0][0])

    def _put(self, image: Image, text: str, x: int, y: int, scale: float) -> None:
        cv2.putText(image, one_line(text), (x, y), _FONT, scale, _WHITE, self._stroke, cv2.LINE_AA)
