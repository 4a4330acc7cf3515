"""Draws and encodes for those who watch: once for all of them, and only while there are any."""

import threading
import time
from functools import partial
from typing import Final

import cv2
import numpy as np

from camrt.images import Image
from camrt.runtime.frames import Rendered
from camrt.runtime.render.mosaic import Mosaic, grid
from camrt.runtime.serve.broadcast import Channel
from camrt.runtime.serve.hub import Hub
from camrt.runtime.serve.schemas import event

NEXT_PART: Final = b"\r\n--frame\r\nContent-Type: image/jpeg\r\n\r\n"
"""Between two pictures. It follows each at once: Chromium shows a picture only when it has read the head of the next
(crbug.com/527446). So there can be nothing in it about the picture, no length and no number."""
VIEWERS: Final = 32
"""Who may watch one camera at once; as many may follow the numbers. The server's connections are limited, too."""

_QUALITY: Final = 80
_WIDEST: Final = 1920
"""Pixels: what is wider is made smaller for the stream, which no screen would show; a snapshot keeps its size."""
_TILE_WIDTH: Final = 640
_SHORTEST_S: Final = 1 / 60
"""Between two pictures: a file that is read faster need not be watched faster."""
_MOSAIC_S: Final = 1 / 31
"""Between two mosaics; a little less than a camera's 30 frames a second."""
_PATIENCE_S: Final = 0.5


def jpeg(image: Image, frame: int | None = None) -> bytes:
    """Encode a picture.

    Args:
        image: uint8 (H, W, 3) BGR.
        frame: number that is written into it, as the comment ``frame N``.
    """
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
    if frame is None:
        return data
    comment = f"frame {frame}".encode()
    return data[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + data[2:]


class Publisher:
    """A thread that publishes pictures on ``pictures`` and what there is to say of them on ``events``."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.pictures = [Channel(VIEWERS, hub.tell) for _ in hub.cameras]
        """One channel a camera."""
        self.mosaic = Channel(VIEWERS, hub.tell) if len(hub.cameras) > 1 else self.pictures[0]
        """All cameras in one picture."""
        self.events = Channel(VIEWERS, hub.tell)
        self._last: list[tuple[Rendered | None, object]] = [(None, None)] * len(hub.cameras)
        self._drawn: list[Rendered | None] = [None] * len(hub.cameras)
        columns, rows = grid(len(hub.cameras))
        width = min(_TILE_WIDTH, _WIDEST // columns)
        self._sheet = Mosaic([camera.name for camera in hub.cameras], (columns * width, rows * (width * 3 // 4)))
        self._stale = set(range(len(hub.cameras)))  # whose place shows what was
        self._sheet_s = 0.0  # when the mosaic was last made
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="camrt-publisher", daemon=True)
        self._thread.start()

    @property
    def viewers(self) -> int:
        """Who watches pictures, all cameras together."""
        channels = {id(channel): channel for channel in [*self.pictures, self.mosaic]}
        return sum(channel.watched for channel in channels.values())

    def close(self) -> None:
        """Let all viewers go and end the thread."""
        self._closed = True
        for channel in (*self.pictures, self.mosaic, self.events):
            channel.close()
        self._hub.tell()
        self._thread.join()

    def _run(self) -> None:
        seen = 0
        while not self._closed:
            seen = self._hub.wait(seen, _PATIENCE_S)
            if self.viewers or self.events.watched:
                start = time.monotonic()
                self._publish()
                time.sleep(max(0.0, _SHORTEST_S - (time.monotonic() - start)))

    def _publish(self) -> None:
        changed = [self._changed(number) for number in range(len(self._hub.cameras))]
        for number, channel in enumerate(self.pictures):
            if channel.watched and (changed[number] or channel.fresh):
                channel.fresh = False
                part = self._hub.cameras[number].draw(partial(self._encode, number))
                if part is not None:
                    channel.publish(part)
        self._stale |= {number for number, one in enumerate(changed) if one}
        if self.mosaic is not self.pictures[0] and self.mosaic.watched and (self._stale or self.mosaic.fresh):
            now_s = time.monotonic()
            if now_s - self._sheet_s >= _MOSAIC_S:  # cameras do not keep step: each would make it anew
                self._sheet_s = now_s
                self.mosaic.fresh = False
                for number in self._stale:
                    self._hub.cameras[number].draw(partial(self._place, number))
                self._stale.clear()
                self.mosaic.publish(jpeg(self._sheet.copy()) + NEXT_PART)
        if self.events.watched:
            self.events.fresh = False
            self.events.publish(b"data: " + event(self._hub, self._drawn, self.viewers) + b"\n\n")

    def _changed(self, number: int) -> bool:
        """Return whether a camera would be drawn otherwise than it was."""
        view, camera = self._hub.view, self._hub.cameras[number]
        now = camera.shown, (view.style, view.classes, view.rank, view.boxes)
        before, self._last[number] = self._last[number], now
        changed = now[0] is not before[0] or now[1] != before[1]
        if changed:
            self._drawn[number] = camera.described()
        return changed

    def _encode(self, number: int, drawn: Rendered) -> bytes:
        self._drawn[number] = drawn
        image = drawn.image
        if image.shape[1] > _WIDEST:
            size = (_WIDEST, max(1, round(image.shape[0] * _WIDEST / image.shape[1])))
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        return jpeg(image, drawn.frame.index) + NEXT_PART

    def _place(self, number: int, drawn: Rendered) -> None:
        self._drawn[number] = drawn
        self._sheet.put(number, drawn)
