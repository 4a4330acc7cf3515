"""Check that this user may open the cameras of this machine."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from camrt.runtime.doctor.finding import OK, WARNING, Finding
from camrt.runtime.sources.cameras import v4l2


def findings() -> Iterator[Finding]:
    """Yield one finding per Video4Linux camera; other systems cannot list cameras without opening them."""
    if sys.platform != "linux":
        yield Finding("cameras", OK, "cannot be listed on this system; try camrt live --source 0")
        return
    devices = [device for device in v4l2.device_files() if not v4l2.is_second_node(device)]
    for device in devices:
        yield _camera(device, v4l2.name_of(device) or "no name")
    if not devices:
        yield Finding("cameras", OK, "none (/dev/video*); files, folders and network streams work without one")


def _camera(device: Path, name: str) -> Finding:
    subject = f"camera {device.name.removeprefix('video')}"
    try:
        os.close(os.open(device, os.O_RDWR | os.O_NONBLOCK))
    except PermissionError:
        group = _group(device)
        return Finding(
            subject,
            WARNING,
            f"this user may not open {name} ({device}): not in the group {group}; log in again after the fix",
            f'sudo usermod -aG {group} "$USER"',
        )
    except OSError as error:
        return Finding(
            subject, WARNING, f"{name} ({device}) cannot be opened: {error.strerror}; unplug it and plug it in again"
        )
    return Finding(subject, OK, f"{name} ({device})")


def _group(device: Path) -> str:
    import grp  # does not exist on Windows

    number = device.stat().st_gid
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
