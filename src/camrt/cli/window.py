"""Someone who watches ``camrt live``: the window, its keys, and how long a picture stays."""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from camrt.errors import SinkError

if TYPE_CHECKING:
    from camrt.images import Image
    from camrt.runtime.frames import Rendered, Sink, Source
    from camrt.runtime.render.display_settings import View
    from camrt.runtime.render.renderer import Renderer
    from camrt.runtime.sinks import WindowSink

_POLL_S = 0.03
_PICTURE_S = 2.0


class Watcher:
    """Shows one source in a window, or all of them in one picture, and holds a picture while it is looked at."""

    def __init__(
        self, args: argparse.Namespace, view: "View", sources: "Sequence[Source]", opened: ExitStack, *, served: bool
    ) -> None:
        """Open a window where one is asked for, or nothing else shows or keeps anything.

        Raises:
            SinkError: there can be none.
        """
        from camrt.runtime.render.mosaic import Mosaic
        from camrt.runtime.sinks import WindowSink

        self.window: WindowSink | None = None
        self._view = view
        self._sources = sources
        self._served = served
        self._mosaic = Mosaic([source.name for source in sources])
        self._picture: Image | None = None
        if args.window or not (args.output or args.events or served):
            self.window = WindowSink("camrt", view.press)
            opened.callback(self.window.close)

    def sinks(self, number: int) -> "list[Sink]":
        """Return what a source's pipeline writes to: the window, where it is the only one."""
        return [self.window] if self.window is not None and len(self._sources) == 1 else []

    def look(self, number: int, rendered: "Rendered", renderer: "Renderer") -> None:
        """Look at a picture of a source for as long as it is to be seen; in the thread that draws it.

        Args:
            number: of the source, 0 the first.
            rendered: the picture.
            renderer: draws it anew when a key has changed what is to be seen.
        """
        hold_s = _hold_s(self._sources[number], rendered)
        if len(self._sources) > 1 and self.window is not None:
            self._mosaic.put(number, rendered)
        if self.window is None or len(self._sources) > 1:
            if self.window is not None or self._served:
                self._wait(hold_s)
            return
        until_s = time.monotonic() + hold_s
        while True:
            self._obey(self.window, rendered.image, rendered.frame.index)
            if self._view.quit or not (self._view.paused or time.monotonic() < until_s):
                return
            if rendered.result is not None:
                rendered = renderer.render(rendered.frame, rendered.result, rendered.result_index)
            self.window.show(rendered.image)
            self.window.poll(round(1e3 * _POLL_S))

    def wait(self) -> None:
        """See to the window of one source while it gives nothing; in the thread that draws."""
        if self.window is not None:
            self.window.poll()
            if self.window.closed:
                self._view.quit = True

    def follow(self) -> None:
        """See to the window of several sources; to be called again and again by the main thread."""
        picture = self._mosaic.get(_POLL_S)
        if self.window is None:
            return
        if picture is not None and not self._view.paused:
            self._picture = picture
            self.window.show(picture)
        self.window.poll()
        if self._picture is not None:
            self._obey(self.window, self._picture, 0)

    def _obey(self, window: "WindowSink", picture: "Image", number: int) -> None:
        """Do what the keys asked for."""
        if self._view.snapshot:
            self._view.snapshot = False
            _save_snapshot(picture, number)
        if window.closed:
            self._view.quit = True

    def _wait(self, hold_s: float) -> None:
        until_s = time.monotonic() + hold_s
        while not self._view.quit and time.monotonic() < until_s:
            time.sleep(_POLL_S)


def _hold_s(source: "Source", rendered: "Rendered") -> float:
    """Return how long a watched overlay stays at least: pictures for a while, the last one until a key ends it."""
    if source.live or source.fps is not None:
        return 0.0
    return math.inf if rendered.frame.index + 1 == source.frame_count else _PICTURE_S


def _save_snapshot(picture: "Image", number: int) -> None:
    from camrt.runtime.sinks.images import write_image

    path = Path(time.strftime(f"camrt-%Y%m%d-%H%M%S-{number}.png")).absolute()
    try:
        write_image(path, picture)
    except SinkError as error:
        print(f"camrt: {error}", file=sys.stderr)
    else:
        print(f"wrote {path.name}", file=sys.stderr)
