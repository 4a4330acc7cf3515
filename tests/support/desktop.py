"""A virtual desktop for one test: its pixels, its windows, and keys that a test presses."""

import ctypes
import shutil
import struct
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np

from support.needs import environment, skip_or_fail

_PLACE_WINDOWS = """<?xml version="1.0"?>
<openbox_config xmlns="http://openbox.org/3.4/rc">
  <theme><keepBorder>no</keepBorder></theme>
  <applications>
    <application class="*"><decor>no</decor><position force="yes"><x>0</x><y>0</y></position></application>
  </applications>
</openbox_config>
"""
"""Openbox puts every window in the upper left corner, without a frame."""


class Desktop:
    """A virtual screen of 800x600 pixels."""

    def __init__(self, display, folder):
        self.display = display
        self._folder = folder
        self._scripts = []

    def run(self, script, *, timeout_s=120):
        """Start a Python script on this desktop, and end it after ``timeout_s`` at the latest."""
        command = ["timeout", str(timeout_s), sys.executable, "-c", script]
        script = subprocess.Popen(
            command, env=environment(DISPLAY=self.display), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._scripts.append(script)
        return script

    @contextmanager
    def managed(self):
        """Run a window manager."""
        settings = self._folder / "openbox.xml"
        settings.write_text(_PLACE_WINDOWS)
        command = ["openbox", "--sm-disable", "--config-file", str(settings)]
        with subprocess.Popen(command, env=environment(DISPLAY=self.display), stderr=subprocess.DEVNULL) as manager:
            assert eventually(self._is_managed), "openbox does not start"
            try:
                yield
            finally:
                manager.terminate()

    def _is_managed(self):
        try:
            self._xdotool("get_num_desktops")
        except subprocess.CalledProcessError:  # only a window manager has desktops to count
            return False
        return True

    def end(self):
        """End the scripts that still run, as after a failed test."""
        for script in self._scripts:
            with script:
                script.terminate()

    def screenshot(self):
        """Return the screen as (600, 800, 3) BGR, from Xvfb's frame buffer, an XWD file."""
        data = (self._folder / "Xvfb_screen0").read_bytes()
        header = struct.unpack(">25I", data[:100])
        width, height, bytes_per_line, colors = header[4], header[5], header[12], header[19]
        pixels = np.frombuffer(data, np.uint8, height * bytes_per_line, offset=header[0] + colors * 12)
        return pixels.reshape(height, -1, 4)[:, :width, :3]

    def window(self, title):
        """Wait until a window with this title is drawn and has the focus, and return its number."""
        window = int(self._xdotool("search", "--sync", "--onlyvisible", "--name", f"^{title}$").split()[0])
        assert eventually(lambda: int(self._xdotool("getwindowfocus")) == window), f"{title} never gets the focus"
        assert eventually(lambda: bool(self.screenshot()[:, :60].any())), f"{title} stays black"
        return window

    def press(self, window, *keys):
        """Press keys, by their X names, in a window."""
        self._xdotool("windowfocus", "--sync", str(window))
        self._xdotool("key", "--delay", "50", *keys)

    def close_window(self, window):
        """Close a window as the button in its title bar does."""
        x11 = ctypes.CDLL("libX11.so.6")
        x11.XOpenDisplay.restype = ctypes.c_void_p
        x11.XInternAtom.restype = ctypes.c_ulong
        x11.XInternAtom.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
        x11.XSendEvent.argtypes = [ctypes.c_void_p, ctypes.c_ulong, ctypes.c_int, ctypes.c_long, ctypes.c_void_p]
        x11.XCloseDisplay.argtypes = [ctypes.c_void_p]
        display = x11.XOpenDisplay(self.display.encode())
        protocols, delete = (x11.XInternAtom(display, name, 0) for name in (b"WM_PROTOCOLS", b"WM_DELETE_WINDOW"))
        # XClientMessageEvent: type, serial, send_event, display, window, message_type, format, data; padded to XEvent.
        message = struct.pack("@iLiPLLi4x5l24l", 33, 0, 1, display, window, protocols, 32, delete, *[0] * 28)
        x11.XSendEvent(display, window, 0, 0, message)
        x11.XCloseDisplay(display)

    def _xdotool(self, *arguments):
        command = ["timeout", "120", "xdotool", *arguments]
        done = subprocess.run(
            command, env=environment(DISPLAY=self.display), capture_output=True, text=True, check=True
        )
        return done.stdout


@contextmanager
def desktop(folder):
    """Start a desktop with a window manager until the block ends. Its frame buffer is a file in ``folder``."""
    for tool in ("Xvfb", "xdotool", "openbox"):
        if shutil.which(tool) is None:
            skip_or_fail(f"no virtual display; install {tool}")
    options = ["-screen", "0", "800x600x24", "-nolisten", "tcp", "-noreset", "-fbdir", str(folder)]
    command = ["Xvfb", "-displayfd", "1", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        number = server.stdout.readline().strip()
        if not number:
            skip_or_fail("Xvfb does not start")
        screen = Desktop(f":{number}", folder)
        try:
            with screen.managed():
                yield screen
        finally:
            screen.end()
            server.terminate()


def eventually(condition, *, within_s=120):
    """Wait until ``condition()`` is true and return its last value."""
    end = time.monotonic() + within_s
    while not (result := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return result
