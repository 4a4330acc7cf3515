"""Cameras of this machine, and whether this user may open them."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from camrt.runtime.doctor.finding import OK, WARNING, Finding


def findings() -> Iterator[Finding]:
    """Yield each camera that Linux knows; elsewhere they cannot be listed without opening them."""
    if sys.platform != "linux":
        yield Finding("cameras", OK, "not listed on this system; try camrt live --source 0")
        return
    found = False
    for device in sorted(Path("/dev").glob("video[0-9]*"), key=lambda path: (len(path.name), path.name)):
        facts = Path("/sys/class/video4linux") / device.name
        if _text(facts / "index") not in ("", "0"):
            continue  # a second node of the same camera, for its metadata
        found = True
        yield _camera(device, _text(facts / "name") or "no name")
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


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
