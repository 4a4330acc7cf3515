"""``camrt cameras``: list the cameras of this machine and their modes."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from camrt.errors import SourceError

if TYPE_CHECKING:
    from camrt.runtime.sources.cameras.v4l2 import Mode, V4l2Device

_NONE = (
    "no camera was found (/dev/video*). Plug one in. If the system shows a camera that is missing here, run camrt "
    "doctor. Network cameras (rtsp://, http://) and the Raspberry Pi camera (picamera2) are never listed"
)


def add(commands: Any) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "cameras",
        help="list the cameras of this machine and their modes",
        description="List the cameras of this machine: number, device, name, and each format, size and frame rate.",
        epilog="example: camrt cameras --json",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the list. Raises: SourceError: this system is not Linux."""
    from camrt.runtime.sources.cameras import v4l2

    if sys.platform != "linux":
        raise SourceError("cameras are listed on Linux only; try camrt live --source 0, then 1, ...")
    cameras = v4l2.list_cameras()
    if args.json:
        print(json.dumps([asdict(camera) for camera in cameras], indent=2))
    else:
        print("\n".join(map(_describe, cameras)) or _NONE)
    return 0


def _describe(camera: "V4l2Device") -> str:
    lines = [f"{camera.number}  {camera.name} ({camera.device})"]
    if camera.problem:
        lines.append(f"   its modes are unknown: {camera.problem}; run camrt doctor for the fix")
    lines += [f"   {mode.format}  {_size(mode):<24}  {_rates(mode.fps)}".rstrip() for mode in camera.modes]
    return "\n".join(lines)


def _size(mode: "Mode") -> str:
    largest = f"{mode.width}x{mode.height}"
    return largest if mode.least is None else f"{mode.least[0]}x{mode.least[1]} to {largest}"


def _rates(fps: Sequence[float]) -> str:
    return ", ".join(f"{rate:g}" for rate in fps) + " fps" if fps else ""
