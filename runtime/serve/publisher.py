"""Publisher of images and events for browsers."""

import threading
import time
from typing import Final

import cv2
import numpy as np

from camrt.images import Image
from camrt.runtime.frames import Rendered, StreamItem
from camrt.runtime.render.mosaic import Mosaic, grid
from camrt.runtime.render.renderer import shown_classes
from camrt.runtime.serve.broadcast import Broadcast
from camrt.runtime.serve.schemas import event
from camrt.runtime.stream.hub import Hub
from camrt.runtime.stream.hub_viewer import HubViewer

NEXT_PART: Final = b"\r\n--frame\r\nContent-Type: image/jpeg\r\n\r\n"
"""Separator between two images. It follows each image at once, because Chromium shows an image only after it has read
the header of the next part (crbug.com/527446). For the same reason it has neither length nor number of an image."""
VIEWERS: Final = 32
"""Most viewers of one camera, and most subscribers of the events. The server limits its connections, too."""

_QUALITY: Final = 80
_WIDEST: Final = 1920
"""Pixels: wider images are shrunk for the stream, since few screens show more; a snapshot keeps its size."""
_TILE_WIDTH: Final = 640
_SHORTEST_S: Final = 1 / 60
"""Seconds between two images, at least: a file that is read faster is not shown faster."""
_MOSAIC_S: Final = 1 / 31
"""Seconds between two mosaics, at least; a little less than the period of 30 fps."""
_POLL_S: Final = 0.5


def jpeg(image: Image, frame: int | None = None) -> bytes:
    """Encode an image as JPEG.

    Args:
        image: uint8 (H, W, 3) BGR.
        frame: number to write into it, as the comment ``frame N``.
    """
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
    if frame is None:
        return data
    comment = f"frame {frame}".encode()
    return data[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + data[2:]


class Publisher:
    """A thread that publishes images and events. It draws and encodes once for all viewers, while there are any."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.images = [Broadcast(VIEWERS, hub.notify) for _ in hub.streams]
        """One broadcast for each camera."""
        self.mosaic = Broadcast(VIEWERS, hub.notify) if len(hub.streams) > 1 else self.images[0]
        """All cameras in one image."""
        self.events = Broadcast(VIEWERS, hub.notify)
        self._viewer = HubViewer(hub, hud=False)
        self._drawn: list[Rendered | None] = [None] * len(hub.streams)
        columns, rows = grid(len(hub.streams))
        width = min(_TILE_WIDTH, _WIDEST // columns)
        self._mosaic = Mosaic([stream.short_name for stream in hub.streams], (columns * width, rows * (width * 3 // 4)))
        self._stale = set(range(len(hub.streams)))  # cameras whose place in the mosaic shows an older image
        self._mosaic_s = 0.0  # time of the last mosaic
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="camrt-publisher", daemon=True)
        self._thread.start()

    @property
    def viewers(self) -> int:
        """Number of viewers of images, all cameras together."""
        broadcasts = {id(broadcast): broadcast for broadcast in [*self.images, self.mosaic]}
        return sum(broadcast.subscribers for broadcast in broadcasts.values())

    def close(self) -> None:
        """Disconnect all viewers and end the thread."""
        self._closed = True
        for broadcast in (*self.images, self.mosaic, self.events):
            broadcast.close()
        self._hub.notify()
        self._thread.join()
        self._viewer.close()

    def _run(self) -> None:
        version = 0
        while not self._closed:
            version = self._hub.wait(version, _POLL_S)
            if self.viewers or self.events.subscribers:
                start = time.monotonic()
                self._publish()
                time.sleep(max(0.0, _SHORTEST_S - (time.monotonic() - start)))

    def _publish(self) -> None:
        for number, broadcast in enumerate(self.images):
            changed = self._viewer.changed(number)
            if changed:
                self._stale.add(number)
            if broadcast.subscribers and (changed or broadcast.has_newcomer):
                broadcast.has_newcomer = False
                if (rendered := self._draw(number)) is not None:
                    broadcast.publish(_encode(rendered))
        if self.mosaic is not self.images[0] and self.mosaic.subscribers and (self._stale or self.mosaic.has_newcomer):
            self._publish_mosaic()
        if self.events.subscribers:
            self.events.has_newcomer = False
            self.events.publish(b"data: " + event(self._hub, self._shown_items(), self.viewers) + b"\n\n")

    def _publish_mosaic(self) -> None:
        now_s = time.monotonic()
        # The frames of several cameras come at different times. A mosaic for each would be too many.
        if now_s - self._mosaic_s < _MOSAIC_S:
            return
        self._mosaic_s = now_s
        self.mosaic.has_newcomer = False
        for number in self._stale:
            if (rendered := self._draw(number)) is not None:
                self._mosaic.put(number, rendered.image)
        self._stale.clear()
        self.mosaic.publish(jpeg(self._mosaic.image) + NEXT_PART)

    def _draw(self, number: int) -> Rendered | None:
        self._drawn[number] = self._viewer.draw(number)
        return self._drawn[number]

    def _shown_items(self) -> list[tuple[StreamItem, tuple[int, ...]] | None]:
        """Return for each camera the item and the classes that its image shows; None: no item came yet."""
        return [
            (drawn.item, drawn.classes)
            if drawn is not None and (broadcast.subscribers or self.mosaic.subscribers)
            else newest_shown(self._hub, number)
            for number, (drawn, broadcast) in enumerate(zip(self._drawn, self.images, strict=True))
        ]


def newest_shown(hub: Hub, number: int) -> tuple[StreamItem, tuple[int, ...]] | None:
    """Return the newest item of a stream and the classes that the settings choose now; None: no item came yet."""
    item = hub.stream(number).newest
    if item is None:
        return None
    return item, () if item.result is None else shown_classes(item.result, hub.settings.current)


def _encode(rendered: Rendered) -> bytes:
    image = rendered.image
    if image.shape[1] > _WIDEST:
        size = (_WIDEST, max(1, round(image.shape[0] * _WIDEST / image.shape[1])))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return jpeg(image, rendered.frame.index) + NEXT_PART
