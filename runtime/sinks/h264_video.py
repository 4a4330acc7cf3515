"""Videos that browsers and phones play, and that survive the end of the process: H.264, written by PyAV."""

from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import av.error
import cv2
import numpy as np

from camrt.errors import SinkError
from camrt.images import Image
from camrt.runtime.sinks.crash_safe_file import CrashSafeFile

FRAGMENT_S: Final = 0.5
"""So much of a video waits in memory for its fragment to be whole, in seconds."""
_TICKS: Final = 90_000  # a second; the clock of video

# While it is written a video consists of fragments, each of which can be played without what follows; when it is
# finished its head is changed (`CrashSafeFile.close`), and it is a usual video with an index.
_FRAGMENTS: Final = {
    "movflags": "hybrid_fragmented+default_base_moof",
    "frag_duration": str(round(FRAGMENT_S * 1_000_000)),
}
CONTAINERS: Final = {
    ".mp4": ("mp4", _FRAGMENTS),
    ".m4v": ("mp4", _FRAGMENTS),
    ".mov": ("mov", _FRAGMENTS),
    ".mkv": ("matroska", {"cluster_time_limit": str(round(FRAGMENT_S * 1000))}),
}
"""Format and options of each suffix."""
_BT601: Final = 6  # AVCOL_SPC_SMPTE170M: what OpenCV converts to, said so that players turn it back
_LIMITED: Final = 1  # AVCOL_RANGE_MPEG


class H264Video:
    """One video file, which can be played at any moment but for the last `FRAGMENT_S` and the frame after it."""

    def __init__(self, path: Path, name: Path, width: int, height: int, fps: float) -> None:
        """Begin a video.

        Args:
            path: the file; its suffix, one of `CONTAINERS`, chooses the container.
            name: what to call it in errors.
            width: of the frames, in pixels, even.
            height: of the frames, in pixels, even.
            fps: nominal frame rate; each frame has its own time.

        Raises:
            DiskFull, SinkError: such a video, or that file, cannot be written.
        """
        self._name = name
        self._last = -1
        self._head = 0  # bytes before the first fragment
        self._ended = False  # nothing more is muxed
        self._file = CrashSafeFile(path)
        self._target = _Target(self._file)
        container, options = CONTAINERS[path.suffix.lower()]
        self._container = av.open(self._target, "w", format=container, options=options)
        try:
            self._stream = self._container.add_stream(
                "libx264",
                rate=Fraction(fps).limit_denominator(100_000),
                # Without a look ahead: a frame that waits in the encoder is one that a crash loses.
                options={"preset": "veryfast", "tune": "zerolatency", "crf": "23"},
            )
            self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
            context = self._stream.codec_context
            context.time_base = Fraction(1, _TICKS)
            context.gop_size = max(1, round(2 * fps))
            context.colorspace, context.color_range = _BT601, _LIMITED
            self._container.start_encoding()
        except BaseException as error:
            self._abandon()
            self._file.close()
            if isinstance(error, av.error.FFmpegError):
                raise SinkError(f"{name}: no H.264 video of {width}x{height} at {fps:g} fps: {error}") from error
            raise

    @property
    def size(self) -> int:
        """Bytes on the disk so far."""
        return self._file.whole

    def write(self, image: Image, time_s: float) -> None:
        """Append a frame.

        Args:
            image: uint8 (H, W, 3) BGR.
            time_s: when it is shown, in seconds after the first; a tick after the one before where it is not later.

        Raises:
            DiskFull: there is no room for it; what there is can be played once it is closed.
            SinkError: it cannot be encoded.
        """
        planes = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420), np.uint8)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        self._last = max(self._last + 1, round(time_s * _TICKS))
        frame.pts, frame.time_base = self._last, Fraction(1, _TICKS)
        self._mux(frame)

    def close(self) -> bool:
        """Finish the video. Where there is no room for its index it stays in fragments, and where this is interrupted.

        Returns: there is something to play. To be called again after an error, it says so still.

        Raises:
            SinkError: the file cannot be closed.
        """
        try:
            if not self._ended:
                self._end()
        except BaseException as error:
            self._abandon()
            if not isinstance(error, (SinkError, av.error.FFmpegError)):
                raise
        finally:
            self._file.close()
        return self._file.whole > self._head

    def _end(self) -> None:
        self._mux(None)
        self._container.close()
        self._file.keep()
        self._ended = True

    def _mux(self, frame: av.VideoFrame | None) -> None:
        try:
            self._container.mux(self._stream.encode(frame))
        except SinkError:
            self._abandon()
            raise
        except av.error.FFmpegError as error:
            self._abandon()
            raise SinkError(f"{self._name}: a frame cannot be encoded: {error}") from error
        self._file.keep()
        self._head = self._head or self._file.whole  # a frame alone makes no fragment

    def _abandon(self) -> None:
        """Write no more: take back what is not whole, and let FFmpeg free what it holds."""
        self._ended = True
        self._file.undo()
        self._target.open = False
        with suppress(SinkError, av.error.FFmpegError):  # which was told before
            self._container.close()


class _Target:
    """What PyAV writes to: the file, until the video is given up, and then nothing."""

    def __init__(self, file: CrashSafeFile) -> None:
        self.open = True
        self._file = file
        self.seek = file.seek
        self.tell = file.tell

    def write(self, data: bytes) -> int:
        return self._file.write(data) if self.open else len(data)
