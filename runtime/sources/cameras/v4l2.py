"""List the Video4Linux cameras of this machine and their modes; needs no package.

Structures and numbers are those of ``linux/videodev2.h``. They hold 32-bit numbers and bytes only, so ``struct`` in
native order fits every machine.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

QUERYCAP: Final = 0x80685600
"""VIDIOC_QUERYCAP, numbered as on x86 and ARM; so are the next ones."""
ENUM_FMT: Final = 0xC0405602
ENUM_FRAMESIZES: Final = 0xC02C564A
ENUM_FRAMEINTERVALS: Final = 0xC034564B
CAPABILITY: Final = struct.Struct("=16s32s32sIII12x")  # driver, card, bus, version, capabilities of device and node
FORMAT: Final = struct.Struct("=III32sI16x")  # index, type of buffer, flags, description, pixel format
SIZE: Final = struct.Struct("=III6I8x")  # index, pixel format, type, sizes
INTERVAL: Final = struct.Struct("=IIIII6I8x")  # index, pixel format, width, height, type, fractions

_CAPTURES = 0x1 | 0x1000  # V4L2_CAP_VIDEO_CAPTURE, V4L2_CAP_VIDEO_CAPTURE_MPLANE
_PER_NODE = 0x80000000  # V4L2_CAP_DEVICE_CAPS
_BUFFERS = (1, 9)  # V4L2_BUF_TYPE_VIDEO_CAPTURE, V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE
_DISCRETE = 1
_MOST = 1000  # entries of one list; a driver whose list has no end must not hang this process


@dataclass(frozen=True, slots=True)
class Mode:
    """One format and size of a camera, with its frame rates."""

    format: str
    """Four letters: MJPG, YUYV, H264 ..."""
    width: int
    height: int
    """In pixels."""
    fps: tuple[float, ...]
    """Frames per second in the driver's order; empty if the driver lists none. A camera that takes any rate in a range
    has the two ends of the range."""
    least: tuple[int, int] | None = None
    """Smallest width and height of a camera that takes a range of sizes; ``width`` and ``height`` are the largest."""


@dataclass(frozen=True, slots=True)
class V4l2Device:
    """One camera of this machine."""

    number: int
    device: str
    """The device file, ``/dev/video0``."""
    name: str
    modes: tuple[Mode, ...]
    problem: str = ""
    """Reason why its modes are unknown; empty if they are known."""


def device_files() -> list[Path]:
    """Return the video device files of this machine, ordered by number; several may belong to one camera."""
    return sorted(Path("/dev").glob("video[0-9]*"), key=lambda path: (len(path.name), path.name))


def name_of(device: Path) -> str:
    """Return the name of a device in sysfs; empty if it has none."""
    return _sysfs_value(device, "name")


def is_second_node(device: Path) -> bool:
    """Return whether a device file is a further node of a camera, for example for metadata."""
    return _sysfs_value(device, "index") not in ("", "0")


def list_cameras() -> list[V4l2Device]:
    """Return the cameras of this machine with their modes. A camera that this user may not open has a ``problem``."""
    cameras = []
    for device in device_files():
        number = device.name.removeprefix("video")
        try:
            modes = modes_of(device)
        except OSError as error:
            if not is_second_node(device):
                reason = str(error.strerror or error)
                cameras.append(V4l2Device(int(number), str(device), name_of(device) or "no name", (), reason))
            continue
        if modes is not None:
            cameras.append(V4l2Device(int(number), str(device), name_of(device) or "no name", modes))
    return cameras


def modes_of(device: Path) -> tuple[Mode, ...] | None:
    """Return the modes that a device supports.

    Args:
        device: the device file.

    Returns: the modes in the driver's order; None: the device captures no images (an encoder, a metadata node).

    Raises:
        OSError: the file cannot be opened, or is not a video device.
    """
    descriptor = os.open(device, os.O_RDWR | os.O_NONBLOCK)
    try:
        *_, of_device, of_node = CAPABILITY.unpack(_ioctl(descriptor, QUERYCAP, bytes(CAPABILITY.size)))
        if not (of_node if of_device & _PER_NODE else of_device) & _CAPTURES:
            return None
        return tuple(_modes(descriptor))
    finally:
        os.close(descriptor)


def _modes(descriptor: int) -> Iterator[Mode]:
    for buffer in _BUFFERS:
        for _, _, _, _, code in _entries(descriptor, ENUM_FMT, FORMAT, buffer, 0, b"", 0):
            letters = (code & 0x7FFFFFFF).to_bytes(4, "little").decode("ascii", "replace").strip()
            for _, _, kind, *sides in _entries(descriptor, ENUM_FRAMESIZES, SIZE, code, 0, *[0] * 6):
                # Either one size, or smallest, largest and step of the width, then of the height.
                width, height = (sides[0], sides[1]) if kind == _DISCRETE else (sides[1], sides[4])
                least = None if kind == _DISCRETE else (sides[0], sides[3])
                yield Mode(letters, width, height, _rates(descriptor, code, width, height), least)


def _rates(descriptor: int, code: int, width: int, height: int) -> tuple[float, ...]:
    rates = []
    fields = (code, width, height, 0, *[0] * 6)
    for _, _, _, _, kind, *parts in _entries(descriptor, ENUM_FRAMEINTERVALS, INTERVAL, *fields):
        # Seconds as fractions: either one, or the shortest, the longest and the step.
        pairs = [parts[:2]] if kind == _DISCRETE else [parts[:2], parts[2:4]]
        rates += [round(denominator / numerator, 3) for numerator, denominator in pairs if numerator]
    return tuple(rates)


def _entries(descriptor: int, request: int, layout: struct.Struct, *fields: int | bytes) -> Iterator[tuple[int, ...]]:
    """Yield the entries of one of the driver's lists, from index 0 until the driver reports an error.

    A range of sizes or rates is the only entry of its list.
    """
    for index in range(_MOST):
        try:
            answer = _ioctl(descriptor, request, layout.pack(index, *fields))
        except OSError:
            return
        yield layout.unpack(answer)


def _ioctl(descriptor: int, request: int, argument: bytes) -> bytes:
    import fcntl  # does not exist on Windows

    return fcntl.ioctl(descriptor, request, argument)


def _sysfs_value(device: Path, name: str) -> str:
    try:
        return (Path("/sys/class/video4linux") / device.name / name).read_text().strip()
    except OSError:
        return ""
