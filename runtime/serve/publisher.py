"""Publisher of images and events for browsers."""

import threading
import time
from collections.abc import Callable
from functools import partial
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
_TALLEST: Final = 2560
"""Pixels: larger images are shrunk for the stream, since few screens show more; a snapshot keeps its size."""
_TILE_WIDTH: Final = 640
_SHORTEST_S: Final = 1 / 60
"""Seconds between two images, at least: a file that is read faster is not shown faster."""
_MOSAIC_S: Final = 1 / 31
"""Seconds between two mosaics, at least; a little less than the period of 30 fps."""
_POLL_S: Final = 0.5
_MOST_REPORTS: Final = 100
_LONGEST: Final = 65_500
"""Pixels: JPEG's limit for a side."""


def jpeg(image: Image, frame: int | None = None) -> bytes:
    """Encode an image as JPEG; one that is too long for the format is shrunk.

    Args:
        image: uint8 (H, W, 3) BGR.
        frame: number to write into it, as the comment ``frame N``.
    """
    image = _shrink(image, _LONGEST, _LONGEST)
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
    if frame is None:
        return data
    comment = f"frame {frame}".encode()
    return data[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + data[2:]


class Publisher:
    """A thread that publishes images and events. It draws and encodes once for all viewers, while there are any.

    An image that cannot be drawn or encoded is left out; the other cameras and the next images go on.
    """

    def __init__(self, hub: Hub, tell: Callable[[str], None]) -> None:
        """Start the thread.

        Args:
            hub: gives items and settings.
            tell: takes a line when an image cannot be published, once for each camera and reason.
        """
        self._hub = hub
        self._tell = tell
        self._told: set[tuple[str, str]] = set()
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
    def alive(self) -> bool:
        """False: the thread has ended, and no viewer gets anything."""
        return self._thread.is_alive()

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

    def _run(self) -> None:
        version = 0
        while not self._closed:
            version = self._hub.wait(version, _POLL_S)
            if self.viewers or self.events.subscribers:
                start = time.monotonic()
                self._guard("the view", self._publish)
                time.sleep(max(0.0, _SHORTEST_S - (time.monotonic() - start)))

    def _publish(self) -> None:
        for number, broadcast in enumerate(self.images):
            changed = self._viewer.changed(number)
            if changed:
                self._stale.add(number)
            if broadcast.subscribers and (changed or broadcast.has_newcomer):
                broadcast.has_newcomer = False
                self._guard(self._hub.streams[number].name, partial(self._publish_image, number))
        if self.mosaic is not self.images[0] and self.mosaic.subscribers and (self._stale or self.mosaic.has_newcomer):
            self._publish_mosaic()
        if self.events.subscribers:
            self.events.has_newcomer = False
            self.events.publish(b"data: " + event(self._hub, self._shown_items(), self.viewers) + b"\n\n")

    def _publish_image(self, number: int) -> None:
        if (rendered := self._draw(number)) is not None:
            self.images[number].publish(_encode(rendered))

    def _guard(self, name: str, publish: Callable[[], None]) -> None:
        """Publish something; an error is reported once."""
        try:
            publish()
        except Exception as error:  # noqa: BLE001 - one image must not end the view of all cameras
            reason = f"{type(error).__name__}: {error}"
            if (name, reason) not in self._told and len(self._told) < _MOST_REPORTS:
                self._told.add((name, reason))
                self._tell(f"{name}: an image cannot be shown in the browser: {reason}")

    def _publish_mosaic(self) -> None:
        now_s = time.monotonic()
        # The frames of several cameras come at different times. A mosaic for each would be too many.
        if now_s - self._mosaic_s < _MOSAIC_S:
            return
        self._mosaic_s = now_s
        self.mosaic.has_newcomer = False
        for number in self._stale:
            self._guard(self._hub.streams[number].name, partial(self._put_into_mosaic, number))
        self._stale.clear()
        self.mosaic.publish(jpeg(self._mosaic.image) + NEXT_PART)

    def _put_into_mosaic(self, number: int) -> None:
        if (rendered := self._draw(number)) is not None:
            self._mosaic.put(number, rendered.image)

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
    return jpeg(_shrink(rendered.image, _WIDEST, _TALLEST), rendered.frame.index) + NEXT_PART


def _shrink(image: Image, widest: int, tallest: int) -> Image:
    """Return an image that fits into a size in pixels, with its aspect ratio; a smaller one stays as it is."""
    height, width = image.shape[:2]
    scale = min(widest / width, tallest / height)
    if scale >= 1.0:
        return image
    size = (min(widest, max(1, round(width * scale))), min(tallest, max(1, round(height * scale))))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
