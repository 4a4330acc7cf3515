"""Cameras of this machine, and whether this user may open them."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from camrt.runtime.doctor.finding import OK, WARNING, Finding
from camrt.runtime.sources import v4l2


def findings() -> Iterator[Finding]:
    """Yield each camera that Linux knows; elsewhere they cannot be listed without opening them."""
    if sys.platform != "linux":
        yield Finding("cameras", OK, "not listed on this system; try camrt live --source 0")
        return
    found = False
    for device in v4l2.device_files():
        if v4l2.is_second_node(device):
            continue
        found = True
        yield _camera(device, v4l2.name_of(device) or "no name")
    if not found:
        yield Finding("cameras", OK, "none found (/dev/video*); files, folders and addresses need none")


def _camera(device: Path, name: str) -> Finding:
    subject = f"camera {device.name.removeprefix('video')}"
    try:
        os.close(os.open(device, os.O_RDWR | os.O_NONBLOCK))
    except PermissionError:
        group = _group(device)
        return Finding(
            subject,
            WARNING,
            f"{name} ({device}) is closed to this user, who is not in the group {group}; log in again afterwards",
            f'sudo usermod -aG {group} "$USER"',
        )
    except OSError as error:
        return Finding(subject, WARNING, f"{name} ({device}) cannot be opened: {error.strerror}; plug it in again")
    return Finding(subject, OK, f"{name} ({device})")


def _group(device: Path) -> str:
    import grp  # Windows has none

    number = device.stat().st_gid
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
