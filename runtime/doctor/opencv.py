"""Check that OpenCV opens windows, and reads and writes videos."""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from camrt.runtime.doctor.finding import OK, PROBLEM, WARNING, Finding, pip, swap

_FRAMES: Final = 5
_WIDTH, _HEIGHT = 128, 96
# An H.264 stream as bytes, because testing the decoder must not need an encoder: the parameter sets of 128x96 pixels
# in the baseline profile, then a slice of 48 macroblocks of raw samples (I_PCM: 256 of brightness, 128 of colour).
_PARAMETERS: Final = bytes.fromhex("00000001 6742000af841a2 00000001 68ce3880")
_SLICE: Final = bytes.fromhex("00000001 05888421a0") + (bytes.fromhex("0d00") + bytes([128]) * 384) * 48 + b"\x80"


def findings() -> Iterator[Finding]:
    """Yield findings about windows, MPEG-4 and H.264."""
    try:
        import cv2

        from camrt.runtime.sinks.window import window_available
        from camrt.video_decoding.capture import quiet_decoders
    except ImportError:
        return  # a finding of the packages
    quiet_decoders()
    reason = window_available()
    if reason is None:
        yield Finding("window", OK, f"can be opened, with {cv2.currentUIFramework()}")
    elif cv2.currentUIFramework():
        yield Finding("window", OK, f"cannot be opened: {reason}; use camrt live --output or --serve")
    else:
        yield Finding("window", WARNING, reason, swap("cv2", "opencv-python"))
    with tempfile.TemporaryDirectory() as folder:
        yield _mpeg4(Path(folder) / "camrt.mp4", _built_in(cv2.getBuildInformation()))
        yield _h264(Path(folder) / "camrt.h264")


def _built_in(information: str) -> str:
    parts = []
    for name in ("FFMPEG", "GStreamer", "v4l/v4l2"):
        present = re.search(rf"^\s*{name}:\s*YES", information, re.MULTILINE)
        parts.append(f"{'with' if present else 'without'} {name.rpartition('/')[2]}")
    return ", ".join(parts)


def _mpeg4(path: Path, built_in: str) -> Finding:
    """Write a video and read it again."""
    import cv2
    import numpy as np

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, (_WIDTH, _HEIGHT))
    for number in range(_FRAMES):
        writer.write(np.full((_HEIGHT, _WIDTH, 3), 40 * number, np.uint8))
    writable = writer.isOpened()
    writer.release()
    if (frames := _read(path)) == _FRAMES:
        return Finding("video", OK, f"MPEG-4 can be written and read ({built_in})")
    reason = f"{frames} of {_FRAMES} frames came back" if writable else "it cannot be written"
    return Finding("video", PROBLEM, f"MPEG-4 does not work: {reason} ({built_in})", _with_ffmpeg())


def _h264(path: Path) -> Finding:
    path.write_bytes(_PARAMETERS + _SLICE)
    if _read(path):
        return Finding("h264", OK, "H.264, the codec of most cameras, can be read")
    return Finding("h264", WARNING, "H.264, the codec of most cameras, cannot be read", _with_ffmpeg())


def _with_ffmpeg() -> str:
    """Return the command that installs the wheel of OpenCV, which has FFmpeg with both codecs."""
    return pip("install --force-reinstall --no-deps opencv-python")


def _read(path: Path) -> int:
    import cv2

    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    frames = 0
    while frames <= _FRAMES and capture.read()[0]:
        frames += 1
    capture.release()
    return frames
