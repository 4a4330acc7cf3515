"""Write H.264 videos with PyAV: browsers and phones play them, and they survive a crash."""

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import av.error
import cv2
import numpy as np

from camrt.errors import SinkError
from camrt.images import Image
from camrt.runtime.frames import Sound
from camrt.runtime.sinks.crash_safe_file import CrashSafeFile
from camrt.runtime.sinks.sound_track import SoundTrack

FRAGMENT_S: Final = 0.5
"""Seconds of video in one fragment; the fragment that is not complete is only in memory."""
_TICKS: Final = 90_000  # per second, the usual clock of video

# During recording a video consists of fragments, and each can be played without the next. `CrashSafeFile.close` then
# changes the head, and the file is a usual video with an index.
_FRAGMENTS: Final = {
    "movflags": "hybrid_fragmented+default_base_moof",
    "frag_duration": str(round(FRAGMENT_S * 1_000_000)),
}
# Picture and sound wait for each other only that long; without a limit, a silent part would be kept in memory.
_INTERLEAVE: Final = {"max_interleave_delta": str(round(FRAGMENT_S * 1_000_000))}
# With sound the head is written with the first fragment, because it states which of the two begins later.
_OFFSETS: Final = {"movflags": _FRAGMENTS["movflags"] + "+delay_moov", "use_editlist": "1"}
CONTAINERS: Final = {
    ".mp4": ("mp4", _FRAGMENTS),
    ".m4v": ("mp4", _FRAGMENTS),
    ".mov": ("mov", _FRAGMENTS),
    ".mkv": ("matroska", {"cluster_time_limit": str(round(FRAGMENT_S * 1000))}),
}
"""Container format and its options for each suffix."""
_BT601: Final = 6  # AVCOL_SPC_SMPTE170M: the conversion that OpenCV uses, so that players invert it
_LIMITED: Final = 1  # AVCOL_RANGE_MPEG


class H264Video:
    """One video file. It can be played at every moment, except for the last `FRAGMENT_S` and the frame after it."""

    def __init__(
        self,
        file: CrashSafeFile,
        name: Path,
        width: int,
        height: int,
        fps: float,
        sound: Sound | None = None,
        threads: int = 1,
    ) -> None:
        """Start a video.

        Args:
            file: an empty file; `close` closes it.
            name: name of the video, also in errors; its suffix, one of `CONTAINERS`, selects the container.
            width: width of the frames, in pixels, even.
            height: height of the frames, in pixels, even.
            fps: nominal frame rate; each frame has a time of its own.
            sound: sound to keep beside the frames.
            threads: threads that encode a frame, in slices; each slice costs some of the quality.

        Raises:
            DiskFull, SinkError: the file cannot be written, or the encoder cannot write such a video.
        """
        self._name = name
        self._last = -1
        self._step = round(_TICKS / fps)
        self._end_s = 0.0  # of the newest frame
        self._ended = False  # nothing more is muxed
        self._file = file
        self._target = _Target(self._file)
        container, options = CONTAINERS[name.suffix.lower()]
        if sound is not None:
            options = options | _INTERLEAVE | (_OFFSETS if container != "matroska" else {})
        self._container = av.open(self._target, "w", format=container, options=options)
        try:
            self._stream = self._container.add_stream(
                "libx264",
                rate=Fraction(fps).limit_denominator(100_000),
                # No look-ahead: a crash loses the frames that wait in the encoder.
                options={"preset": "veryfast", "tune": "zerolatency", "crf": "23"},
            )
            self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
            context = self._stream.codec_context
            context.thread_count = threads
            context.time_base = Fraction(1, _TICKS)
            context.gop_size = max(1, round(2 * fps))
            context.colorspace, context.color_range = _BT601, _LIMITED
            self._sound = None if sound is None else SoundTrack(sound, self._container)
            self._lead = 0 if self._sound is None else round(self._sound.lead_s * _TICKS)
            self._container.start_encoding()
        except BaseException as error:
            self._abandon()
            self._file.close()
            if isinstance(error, av.error.FFmpegError):
                raise SinkError(f"{name}: cannot write H.264 of {width}x{height} at {fps:g} fps: {error}") from error
            raise

    @property
    def problems(self) -> list[str]:
        """One line for each part of the sound that was left out."""
        return [] if self._sound is None else self._sound.problems

    @property
    def size(self) -> int:
        """Size of the file so far, in bytes."""
        return self._file.whole

    def write(self, image: Image, time_s: float, lasts_s: float = 0.0) -> None:
        """Append a frame.

        Args:
            image: uint8 (H, W, 3) BGR.
            time_s: presentation time, in seconds after the first frame. A time that does not grow becomes one tick
                after the frame before.
            lasts_s: seconds that the frame is shown if it is the last one; 0: one frame time.

        Raises:
            DiskFull: the frame does not fit on the disk; the video so far can be played after `close`.
            SinkError: the frame cannot be encoded.
        """
        planes = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420), np.uint8)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        self._last = max(self._last + 1, round(time_s * _TICKS) + self._lead)
        frame.pts, frame.time_base = self._last, Fraction(1, _TICKS)
        frame.duration = round(lasts_s * _TICKS) or self._step
        self._end_s = (self._last + frame.duration) / _TICKS
        self._mux(self._encode(frame))
        if self._sound is not None:
            self._mux(self._sound.until(self._last / _TICKS))

    def close(self) -> bool:
        """Finish the video. If its index does not fit on the disk, or after an interrupt, it stays in fragments.

        Returns: True if the file can be played. A second call, as after an error, returns the same.

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
        return _has_a_frame(self._file.path)

    def _end(self) -> None:
        self._flush()
        self._container.close()
        self._file.keep()
        self._ended = True

    def _flush(self) -> None:
        """Write all that is left except the index."""
        self._mux(self._encode(None))
        if self._sound is not None:
            self._mux(self._sound.end(self._end_s))

    def _encode(self, frame: av.VideoFrame | None) -> "Iterator[av.Packet[Any]]":
        for packet in self._stream.encode(frame):
            if frame is not None:  # the encoder keeps no frame back, so it is the packet of this frame
                packet.duration = round(Fraction(frame.duration, _TICKS) / packet.time_base)
            yield packet

    def _mux(self, packets: "Iterator[av.Packet[Any]]") -> None:
        try:
            for packet in packets:
                self._container.mux(packet)
        except SinkError:
            self._abandon()
            raise
        except av.error.FFmpegError as error:
            self._abandon()
            raise SinkError(f"{self._name}: a frame cannot be encoded: {error}") from error
        self._file.keep()

    def _abandon(self) -> None:
        """Stop writing: cut the file at the last complete fragment, and let FFmpeg free its memory."""
        self._ended = True
        self._file.undo()
        self._target.open = False
        with suppress(SinkError, av.error.FFmpegError):  # an earlier error was raised already
            self._container.close()


def _has_a_frame(path: Path) -> bool:
    """Return whether a video has a frame that can be played; a file may hold its head alone."""
    try:
        with av.open(str(path)) as container:
            return any(packet.size for packet in container.demux(video=0))
    except (av.error.FFmpegError, IndexError, OSError):  # IndexError: it has no video stream
        return False


class _Target:
    """File object for PyAV; it discards data after the video was abandoned."""

    def __init__(self, file: CrashSafeFile) -> None:
        self.open = True
        self._file = file
        self.seek = file.seek
        self.tell = file.tell

    def write(self, data: bytes) -> int:
        return self._file.write(data) if self.open else len(data)
