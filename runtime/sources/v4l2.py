"""The cameras that Linux knows, and what each can give: Video4Linux, asked by its ioctls. Imports nothing of a package.

Structures and numbers are those of ``linux/videodev2.h``; those of one machine are those of all where Python's
``struct`` uses native order: they hold 32-bit numbers and bytes only.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

QUERYCAP: Final = 0x80685600
"""VIDIOC_QUERYCAP, as x86 and ARM number it; the next ones likewise."""
ENUM_FMT: Final = 0xC0405602
ENUM_FRAMESIZES: Final = 0xC02C564A
ENUM_FRAMEINTERVALS: Final = 0xC034564B
CAPABILITY: Final = struct.Struct("=16s32s32sIII12x")  # driver, card, bus, version, capabilities, those of this node
FORMAT: Final = struct.Struct("=III32sI16x")  # index, type of buffer, flags, description, pixel format
SIZE: Final = struct.Struct("=III6I8x")  # index, pixel format, type, sizes
INTERVAL: Final = struct.Struct("=IIIII6I8x")  # index, pixel format, width, height, type, fractions

_CAPTURES = 0x1 | 0x1000  # V4L2_CAP_VIDEO_CAPTURE, and with several planes
_PER_NODE = 0x80000000  # V4L2_CAP_DEVICE_CAPS
_BUFFERS = (1, 9)  # V4L2_BUF_TYPE_VIDEO_CAPTURE, and with several planes
_DISCRETE = 1
_MOST = 1000  # entries of one list: a driver that never ends its own must not hang us


@dataclass(frozen=True, slots=True)
class Mode:
    """One thing a camera can give."""

    format: str
    """Four letters: MJPG, YUYV, H264 ..."""
    width: int
    height: int
    """In pixels."""
    fps: tuple[float, ...]
    """Frames per second, as the driver lists them; empty where it does not say. A camera that takes any rate between
    two has these two."""
    least: tuple[int, int] | None = None
    """Smallest width and height of a camera that takes sizes in between; ``width`` and ``height`` are the largest."""


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera of this machine."""

    number: int
    device: str
    """The device file, ``/dev/video0``."""
    name: str
    modes: tuple[Mode, ...]
    problem: str = ""
    """Why its modes are not known."""


def device_files() -> list[Path]:
    """Return the video devices of this machine, by number; several may belong to one camera."""
    return sorted(Path("/dev").glob("video[0-9]*"), key=lambda path: (len(path.name), path.name))


def name_of(device: Path) -> str:
    """Return what the system calls a device; empty where it has no name for it."""
    return _fact(device, "name")


def is_second_node(device: Path) -> bool:
    """Tell whether it is a further device of a camera, for metadata and the like."""
    return _fact(device, "index") not in ("", "0")


def cameras() -> list[Camera]:
    """Return the cameras of this machine with their modes. Those that this user may not open are listed as well."""
    found = []
    for device in device_files():
        number = device.name.removeprefix("video")
        try:
            modes = modes_of(device)
        except OSError as error:
            if not is_second_node(device):
                reason = str(error.strerror or error)
                found.append(Camera(int(number), str(device), name_of(device) or "no name", (), reason))
            continue
        if modes is not None:
            found.append(Camera(int(number), str(device), name_of(device) or "no name", modes))
    return found


def modes_of(device: Path) -> tuple[Mode, ...] | None:
    """Ask a device what it can give.

    Args:
        device: its file.

    Returns: its modes, in the driver's order; None: it captures no pictures (an encoder, a node for metadata).

    Raises:
        OSError: it cannot be opened, or is no video device.
    """
    opened = os.open(device, os.O_RDWR | os.O_NONBLOCK)
    try:
        *_, of_device, of_node = CAPABILITY.unpack(_asked(opened, QUERYCAP, bytes(CAPABILITY.size)))
        if not (of_node if of_device & _PER_NODE else of_device) & _CAPTURES:
            return None
        return tuple(_modes(opened))
    finally:
        os.close(opened)


def _modes(opened: int) -> Iterator[Mode]:
    for kind in _BUFFERS:
        for _, _, _, _, code in _listed(opened, ENUM_FMT, FORMAT, kind, 0, b"", 0):
            letters = (code & 0x7FFFFFFF).to_bytes(4, "little").decode("ascii", "replace").strip()
            for _, _, way, *sides in _listed(opened, ENUM_FRAMESIZES, SIZE, code, 0, *[0] * 6):
                # Either one size, or least, largest and step of the width, then of the height.
                width, height = (sides[0], sides[1]) if way == _DISCRETE else (sides[1], sides[4])
                least = None if way == _DISCRETE else (sides[0], sides[3])
                yield Mode(letters, width, height, _rates(opened, code, width, height), least)


def _rates(opened: int, code: int, width: int, height: int) -> tuple[float, ...]:
    rates = []
    for _, _, _, _, way, *parts in _listed(opened, ENUM_FRAMEINTERVALS, INTERVAL, code, width, height, 0, *[0] * 6):
        # Seconds as fractions: one, or the shortest, the longest and the step.
        pairs = [parts[:2]] if way == _DISCRETE else [parts[:2], parts[2:4]]
        rates += [round(below / above, 3) for above, below in pairs if above]
    return tuple(rates)


def _listed(opened: int, request: int, layout: struct.Struct, *fields: int | bytes) -> Iterator[tuple[int, ...]]:
    """Yield the entries of one of the driver's lists, which are asked for by number until there is none.

    A range, of sizes or rates, is the one entry of its list: a driver answers number 0 only.
    """
    for index in range(_MOST):
        try:
            answer = _asked(opened, request, layout.pack(index, *fields))
        except OSError:
            return
        yield layout.unpack(answer)


def _asked(opened: int, request: int, question: bytes) -> bytes:
    import fcntl  # Windows has none

    return fcntl.ioctl(opened, request, question)


def _fact(device: Path, name: str) -> str:
    try:
        return (Path("/sys/class/video4linux") / device.name / name).read_text().strip()
    except OSError:
        return ""
