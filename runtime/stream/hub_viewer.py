"""Viewer of a hub: draws the newest item of each stream when it or the settings have changed."""

from camrt.runtime.frames import Rendered, StreamItem
from camrt.runtime.render.display_settings import DisplaySettings
from camrt.runtime.render.renderer import Renderer
from camrt.runtime.stream.hub import Hub


class HubViewer:
    """Draws for one kind of viewer: the window, or all browsers together. Belongs to one thread."""

    def __init__(self, hub: Hub, *, hud: bool, provider: str | None = None, threads: int = 1) -> None:
        """Prepare to draw.

        Args:
            hub: gives items and settings.
            hud: write classes and scores on the images.
            provider: see `Renderer`.
            threads: threads that draw.
        """
        self._hub = hub
        self._renderers = [Renderer(hud=hud, provider=provider, threads=threads) for _ in hub.streams]
        self._drawn: list[tuple[StreamItem, DisplaySettings] | None] = [None] * len(hub.streams)

    def changed(self, number: int) -> bool:
        """Tell whether `draw` would give another image of a stream than the last time."""
        drawn, newest = self._drawn[number], self._hub.streams[number].newest
        if newest is None:
            return False
        return drawn is None or drawn[0] is not newest or drawn[1] is not self._hub.settings.current

    def draw(self, number: int) -> Rendered | None:
        """Draw the newest item of a stream with the settings of now; None: no item came yet.

        The image is overwritten by the next call for this stream.
        """
        newest, settings = self._hub.streams[number].newest, self._hub.settings.current
        if newest is None:
            return None
        self._drawn[number] = newest, settings
        return self._renderers[number].render(newest, settings)
