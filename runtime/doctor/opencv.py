"""OpenCV: its windows, and the videos that it reads and writes."""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from camrt.runtime.doctor.finding import OK, PROBLEM, WARNING, Finding

_FRAMES: Final = 5
_SIDES: Final = (128, 96)
_REINSTALL: Final = "pip install --force-reinstall --no-deps opencv-python"
# H.264 by hand: parameter sets of 128x96 pixels, baseline profile, then one slice whose macroblocks are raw samples
# (I_PCM: 256 of brightness and 128 of colour each), so that no encoder is needed to try the decoder.
_PARAMETERS: Final = bytes.fromhex("00000001 6742000af841a2 00000001 68ce3880")
_SLICE, _MACROBLOCK, _MACROBLOCKS = bytes.fromhex("00000001 0588842 1a0".replace(" ", "")), b"\x0d\x00", 48


def findings() -> Iterator[Finding]:
    """Yield what this OpenCV can do."""
    try:
        import cv2

        from camrt.runtime.sinks.window import window_available
        from camrt.runtime.sources.capture import quiet_decoders

        information = cv2.getBuildInformation()
    except (ImportError, AttributeError) as error:
        yield Finding("opencv", PROBLEM, f"cannot be imported: {error}", _REINSTALL)
        return
    quiet_decoders()
    cores = f"{cv2.getNumThreads()} threads"
    gui = cv2.currentUIFramework() or "none"
    yield Finding("opencv", OK, f"{cv2.__version__}, {cores}, windows by {gui}, {_built_in(information)}")
    reason = window_available()
    if reason is None:
        yield Finding("window", OK, "a display answers")
    elif gui == "none":
        mend = "pip uninstall -y opencv-python-headless && pip install --force-reinstall --no-deps opencv-python"
        yield Finding("window", WARNING, reason, mend)
    else:
        yield Finding("window", OK, f"none can be opened: {reason}; camrt live --output writes files")
    with tempfile.TemporaryDirectory() as folder:
        yield _round_trip(Path(folder) / "camrt.mp4")
        yield _reads_h264(Path(folder) / "camrt.h264")


def _built_in(information: str) -> str:
    parts = []
    for name in ("FFMPEG", "GStreamer", "v4l/v4l2"):
        found = re.search(rf"^\s*{name}:\s*(\S+)", information, re.MULTILINE)
        parts.append(f"{'V4L2' if 'v4l' in name else name} {found[1].lower() if found else 'no'}")
    return ", ".join(parts)


def _round_trip(path: Path) -> Finding:
    """Write a video as camrt does, and read it."""
    import cv2
    import numpy as np

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, _SIDES)
    for number in range(_FRAMES):
        writer.write(np.full((_SIDES[1], _SIDES[0], 3), 40 * number, np.uint8))
    opened = writer.isOpened()
    writer.release()
    frames = _read(path)
    if frames == _FRAMES:
        return Finding("video", OK, "MPEG-4 is written and read")
    reason = f"{frames} of {_FRAMES} frames came back" if opened else "it cannot be written"
    return Finding("video", PROBLEM, f"MPEG-4 does not work: {reason}; videos need OpenCV with FFmpeg", _REINSTALL)


def _reads_h264(path: Path) -> Finding:
    samples = bytes([128]) * 384
    picture = _SLICE + (_MACROBLOCK + samples) * _MACROBLOCKS
    path.write_bytes(_PARAMETERS + picture + b"\x80")
    if _read(path):
        return Finding("h264", OK, "H.264 is read, as most cameras and files have it; no wheel writes it")
    return Finding("h264", WARNING, "H.264 is not read; most network cameras and videos have it", _REINSTALL)


def _read(path: Path) -> int:
    import cv2

    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    frames = 0
    while frames <= _FRAMES and capture.read()[0]:
        frames += 1
    capture.release()
    return frames
