"""A window on the desktop."""

import contextlib
import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import cv2

from camrt.errors import SinkError
from camrt.images import Image

LARGEST: Final = (1280, 720)
"""Width and height that a window has at most when it opens; the user may make it larger."""
ESCAPE: Final = "\x1b"


def window_available() -> str | None:
    """Return why no window can be opened here, or None if one can.

    To be asked before OpenCV's first window: where Qt finds no display it does not fail, it aborts the process.
    """
    if not cv2.currentUIFramework():
        return "this OpenCV has no windows (opencv-python-headless?); install opencv-python instead"
    if sys.platform != "linux":
        return None
    plugins = Path(cv2.__file__).parent / "qt" / "plugins" / "platforms"
    if not plugins.is_dir():  # a build of the system's, which knows Wayland too
        displays = ("DISPLAY", "WAYLAND_DISPLAY")
        return None if any(os.environ.get(name) for name in displays) else "no display (DISPLAY is not set)"
    platform = os.environ.get("QT_QPA_PLATFORM") or "xcb"
    plugin = plugins / f"libq{platform.partition(':')[0]}.so"
    if not plugin.exists():
        return f"QT_QPA_PLATFORM={platform}, which this OpenCV lacks; unset it"
    if platform != "xcb":
        return None
    if not os.environ.get("DISPLAY"):
        return "no display (DISPLAY is not set)"
    _use_the_systems_x11()
    try:
        ctypes.CDLL(str(plugin))
        xcb = ctypes.CDLL("libxcb.so.1")
    except OSError as error:
        return f"a library that windows need is missing: {error}"
    return None if _display_answers(xcb) else f"display {os.environ['DISPLAY']} does not answer"


def _use_the_systems_x11() -> None:
    """Have Qt take libX11-xcb from the system, where libX11 is taken from; to be called before Qt's plugin is loaded.

    OpenCV's wheel brings a libX11-xcb of its own, whose XSetEventQueueOwner writes to where older versions of libX11
    had the owner of the event queue. With a newer one of the system, libX11 goes on taking events for itself, and when
    that hits the news that a window is there, it stays black for good.
    """
    with contextlib.suppress(OSError):  # where the system has none, the wheel's has to do
        ctypes.CDLL("libX11-xcb.so.1", mode=ctypes.RTLD_GLOBAL)


def _display_answers(xcb: ctypes.CDLL) -> bool:
    """Connect to the display exactly as Qt will, with its address and authority from the environment."""
    xcb.xcb_connect.restype = ctypes.c_void_p
    xcb.xcb_connect.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
    xcb.xcb_connection_has_error.argtypes = [ctypes.c_void_p]
    xcb.xcb_disconnect.argtypes = [ctypes.c_void_p]
    connection = xcb.xcb_connect(None, None)
    answers: bool = xcb.xcb_connection_has_error(connection) == 0
    xcb.xcb_disconnect(connection)
    return answers


class Window:
    """Shows images in a window and hands the keys that are pressed in it to a function.

    Everything, from the constructor to `close`, belongs to the main thread: desktop toolkits require it. When the user
    is done (q, Esc, or the close button) ``closed`` becomes True; later images are ignored.
    """

    closed: bool
    """The user has closed the window, or `close` was called."""

    def __init__(self, title: str, on_key: Callable[[str], None]) -> None:
        """Check that a window can be opened; it opens with the first image.

        Args:
            title: text of the title bar.
            on_key: gets each key as its character, the space bar as ``space``; q and Esc close instead.

        Raises:
            SinkError: no window can be opened.
        """
        if reason := window_available():
            raise SinkError(
                f"no window can be opened: {reason}. Use a browser or files instead: --serve, --output, --events"
            )
        self.closed = False
        self._title = title
        self._on_key = on_key
        self._open = False

    def show(self, image: Image) -> None:
        """Show an image, uint8 (H, W, 3) BGR, and handle the keys."""
        if self.closed:
            return
        if not self._open:
            height, width = image.shape[:2]
            shrink = min(1.0, LARGEST[0] / width, LARGEST[1] / height)
            cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
            cv2.resizeWindow(self._title, max(1, round(width * shrink)), max(1, round(height * shrink)))
            self._open = True
        cv2.imshow(self._title, image)
        self.poll()

    def poll(self, wait_ms: int = 1) -> None:
        """Handle the keys and let the window redraw itself; needed also while no image comes.

        Args:
            wait_ms: time to wait for the first key, in milliseconds.
        """
        while self._open and not self.closed and (code := cv2.waitKeyEx(wait_ms)) != -1:
            # Bits above 16 are modifiers; 0xff.. are arrows and other keys without a character.
            key = chr(code & 0xFFFF)
            if key in ("q", "Q", ESCAPE):
                self.close()
            elif key.isascii() and key.isprintable():
                self._on_key("space" if key == " " else key)
            wait_ms = 1
        if self._open and not self._visible():
            self.close()

    def close(self) -> None:
        """Close the window."""
        self.closed = True
        if self._open:
            self._open = False
            if self._visible():
                cv2.destroyWindow(self._title)
            cv2.waitKeyEx(1)  # the toolkit takes it off the screen only here

    def _visible(self) -> bool:
        try:
            return cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1
        except cv2.error:  # Qt's answer after its last window was closed
            return False
