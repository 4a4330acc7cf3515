"""Snapshots: the images of single requests, each drawn and encoded once."""

import threading
from dataclasses import dataclass, field

from camrt.runtime.frames import StreamItem
from camrt.runtime.render.display_settings import DisplaySettings
from camrt.runtime.render.renderer import Renderer
from camrt.runtime.serve.publisher import jpeg


@dataclass(slots=True)
class _Snapshot:
    """The newest snapshot of a camera."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    drawn: tuple[StreamItem, DisplaySettings] | None = None
    data: bytes = b""


class Snapshots:
    """Draws and encodes each item once, however many clients ask for it, and one item of a camera at a time."""

    def __init__(self, cameras: int) -> None:
        self._newest = [_Snapshot() for _ in range(cameras)]

    def jpeg_of(self, camera: int, item: StreamItem, settings: DisplaySettings) -> bytes:
        """Return the drawn item as JPEG, in full size.

        Args:
            camera: number of the camera, 0 first.
            item: its newest item.
            settings: display settings.
        """
        newest = self._newest[camera]
        with newest.lock:
            if newest.drawn is None or newest.drawn[0] is not item or newest.drawn[1] is not settings:
                renderer = Renderer(hud=False, provider=None, threads=1)
                newest.data = jpeg(renderer.render(item, settings).image, item.frame.index)
                newest.drawn = item, settings
            return newest.data
