"""Window of a live session: shows the streams of a hub and handles the keys."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from camrt.errors import SinkError
from camrt.images import Image
from camrt.runtime.maps.colormaps import COLORMAPS
from camrt.runtime.render.hud import Hud
from camrt.runtime.render.mosaic import Mosaic
from camrt.runtime.sinks.images import write_image
from camrt.runtime.sinks.window import Window
from camrt.runtime.stream.hub import Hub
from camrt.runtime.stream.hub_viewer import HubViewer

KEYS: Final = {
    "q": "quit",
    "space": "pause",
    "c": "next class",
    "h": "next head",
    "m": "next colour map",
    "s": "save a snapshot",
    "?": "show or hide this list",
}

_RANKS: Final = 5
"""The key ``c`` steps through this many of the best classes."""
_POLL_S: Final = 0.03


class WindowViewer:
    """Shows one stream, or several as a mosaic. Belongs to the main thread."""

    def __init__(self, hub: Hub, *, hud: bool, tell: Callable[[str], None]) -> None:
        """Check that a window can be opened; it opens with the first image.

        Args:
            hub: gives items and settings; the keys change its settings and its pause.
            hud: write classes, scores and speed on the images.
            tell: takes a line for the user.

        Raises:
            SinkError: no window can be opened.
        """
        self._hub = hub
        self._tell = tell
        self._window = Window("camrt", self.press)
        self._viewer = HubViewer(hub, hud=hud, provider=hub.model.provider, threads=hub.model.spare_threads)
        self._mosaic = Mosaic([stream.short_name for stream in hub.streams]) if len(hub.streams) > 1 else None
        self._seen = 0
        self._image: Image | None = None
        self._number = 0
        self._help = False

    @property
    def closed(self) -> bool:
        """The user has closed the window."""
        return self._window.closed

    def update(self) -> None:
        """Wait a little for news, draw them, and handle the keys; to be called again and again."""
        self._seen = self._hub.wait(self._seen, _POLL_S)
        changed = [number for number in range(len(self._hub.streams)) if self._viewer.changed(number)]
        for number in changed:
            self._draw(number)
        if changed:
            self._show()
        self._window.poll()

    def press(self, key: str) -> None:
        """Handle a key of `KEYS`; other keys do nothing."""
        settings = self._hub.settings
        if key == "space":
            self._hub.pause(not self._hub.paused)
        elif key == "c":
            settings.update(classes=self._next_class())
        elif key == "h":
            settings.update(head=self._next_head())
        elif key == "m":
            names = list(COLORMAPS)
            settings.update(colormap=names[(names.index(settings.current.colormap) + 1) % len(names)])
        elif key == "s":
            self._save_snapshot()
        elif key == "?":
            self._help = not self._help
            self._show()

    def close(self) -> None:
        """Close the window."""
        self._window.close()

    def _draw(self, number: int) -> None:
        rendered = self._viewer.draw(number)
        if rendered is None:
            return
        self._number = rendered.frame.index
        if self._mosaic is None:
            self._image = rendered.image
        else:
            self._mosaic.put(number, rendered.image)
            self._image = self._mosaic.image

    def _show(self) -> None:
        if self._image is None:
            return
        image = self._image
        if self._help:
            image = image.copy()
            keys = {key: text for key, text in KEYS.items() if key != "h" or self._hub.model.heads}
            Hud(image.shape[1], image.shape[0]).help(image, keys)
        self._window.show(image)

    def _next_class(self) -> tuple[int, ...]:
        """Return the class that follows in rank; after the last one, none: the best class is followed again."""
        items = [stream.newest for stream in self._hub.streams]
        result = next((item.result for item in items if item is not None and item.result is not None), None)
        if result is None:
            return self._hub.settings.current.classes
        best = [class_id for class_id, _, _ in result.top(_RANKS)]
        shown = self._hub.settings.current.classes_of(result.decoder.head) or (best[0],)
        following = best.index(shown[0]) + 1 if shown[0] in best else 0
        return (best[following],) if following < len(best) else ()

    def _next_head(self) -> str | None:
        """Return the head that follows in the file; None: the file has one."""
        heads, shown = self._hub.model.heads, self._hub.model.head_name
        return None if shown is None else heads[(heads.index(shown) + 1) % len(heads)]

    def _save_snapshot(self) -> None:
        if self._image is None:
            return
        path = Path(time.strftime(f"camrt-%Y%m%d-%H%M%S-{self._number}.png"))
        try:
            write_image(path, self._image)
        except SinkError as error:
            self._tell(f"camrt: {error}")
        else:
            self._tell(f"wrote {path}")
