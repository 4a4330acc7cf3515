"""Pixels, keys and end of a window on a virtual display, and the error without a display."""

import os
import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from support.desktop import desktop, eventually
from support.needs import environment
from support.overlays import gradient_image

pytestmark = pytest.mark.window

SHOW = """
from camrt.runtime.sinks import Window
from support.overlays import gradient_image

window = Window("camrt", lambda key: print(key, flush=True))
image = gradient_image({height}, {width}, shade=90)
while not window.closed:
    window.show(image)
window.show(image)
window.close()
print("closed")
"""


@pytest.fixture
def screen(tmp_path):
    with desktop(tmp_path) as screen:
        yield screen


def finish(process):
    """Return what a script printed, after its end."""
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    return output.split()


def test_a_window_shows_the_overlay_pixel_by_pixel(screen):
    process = screen.run(SHOW.format(height=240, width=320))
    expected = gradient_image(240, 320, shade=90)
    assert eventually(lambda: np.array_equal(screen.screenshot()[:240, :320], expected))
    screen.press(screen.window("camrt"), "q")
    assert finish(process) == ["closed"]
    assert eventually(lambda: not screen.screenshot()[:240, :320].any())


def test_a_large_overlay_is_shown_smaller(screen):
    process = screen.run(SHOW.format(height=2160, width=3840))
    window = screen.window("camrt")
    # The window shows 3840 pixels as 1280. At the right edge of the screen the ramp has reached 800/1280 of 255.
    expected = pytest.approx(255 * 800 / 1280, abs=3)
    assert eventually(lambda: screen.screenshot()[0, 799, 0] == expected)
    screen.press(window, "q")
    finish(process)


def test_keys_are_passed_on_and_q_closes_the_window(screen):
    process = screen.run(SHOW.format(height=240, width=320))
    screen.press(screen.window("camrt"), "c", "m", "space", "question", "Left", "F1", "s", "q")
    assert finish(process) == ["c", "m", "space", "?", "s", "closed"]


def test_escape_closes_the_window(screen):
    process = screen.run(SHOW.format(height=240, width=320))
    screen.press(screen.window("camrt"), "Escape")
    assert finish(process) == ["closed"]


def test_the_close_button_closes_the_window(screen):
    process = screen.run(SHOW.format(height=240, width=320))
    window = screen.window("camrt")
    assert eventually(lambda: np.array_equal(screen.screenshot()[:240, :320], gradient_image(240, 320, shade=90)))
    screen.close_window(window)
    assert finish(process) == ["closed"]


def test_keys_work_while_no_overlay_is_written(screen):
    script = SHOW.format(height=240, width=320)
    poll = "    while not window.closed: window.poll(20)\n"
    process = screen.run(script.replace("show(image)\n", f"show(image)\n{poll}", 1))
    screen.press(screen.window("camrt"), "c", "q")
    assert finish(process) == ["c", "closed"]


def test_qt_gets_its_events_from_the_libraries_of_the_system(screen, tmp_path):
    """With the wheel's own libX11-xcb beside a newer libX11 of the system, events are lost and windows stay black."""
    with patch.dict(os.environ, LD_DEBUG="bindings", LD_DEBUG_OUTPUT=str(tmp_path / "bindings")):
        process = screen.run(SHOW.format(height=240, width=320))
        screen.press(screen.window("camrt"), "q")
        assert finish(process) == ["closed"]
    log = "".join(path.read_text(errors="replace") for path in tmp_path.glob("bindings.*"))
    bindings = re.findall(r"binding file (\S+) \[0\] to (\S+) \[0\]: normal symbol .XSetEventQueueOwner'", log)
    assert [(Path(user).name.partition("-")[0], Path(library).name) for user, library in bindings] == [
        ("libQt5XcbQpa", "libX11-xcb.so.1")
    ]


def no_window(changes):
    """Return the output of a process that opens a window under these settings."""
    settings = {key: value for key, value in environment().items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    script = """
from camrt.errors import SinkError
from camrt.runtime.sinks import Window
try:
    Window("camrt", print)
except SinkError as error:
    print(error)
"""
    run = subprocess.run(
        [sys.executable, "-c", script], env=settings | changes, capture_output=True, text=True, timeout=60, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")  # Qt would abort the process
    return run.stdout


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "no display (DISPLAY is not set)"),
        ({"DISPLAY": ":987"}, "display :987 does not answer"),
        ({"DISPLAY": "nonsense"}, "display nonsense does not answer"),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "no display (DISPLAY is not set)"),
        ({"QT_QPA_PLATFORM": "offscreen"}, "QT_QPA_PLATFORM=offscreen, which this OpenCV lacks"),
    ],
)
def test_without_a_display_the_error_has_the_reason_and_the_process_survives(changes, reason):
    assert no_window(changes).startswith(f"no window can be opened: {reason}")
