"""Decode a video file or a network stream with PyAV (extra ``video``)."""

import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from fractions import Fraction
from functools import partial
from typing import Final, cast

import av
import av.error
import cv2

from camrt.errors import SourceError
from camrt.images import Image
from camrt.video_decoding.capture import DEFAULT_FPS, MOST_DAMAGED
from camrt.video_decoding.frame_converter import FrameConverter, ShownImage
from camrt.video_decoding.hardware_check import HardwareDecoder, HardwareError, device_decoder
from camrt.video_decoding.hardware_devices import AUTO, SOFTWARE, choose_device, hardware
from camrt.video_decoding.pyav_stream import choose_stream, fourcc_letters, time_base
from camrt.video_decoding.stream_clock import StreamClock

_NEARLY_ALL: Final = 0.98


class PyavCapture:
    """A video that is read with the methods of `cv2.VideoCapture`.

    Frames are progressive, upright, have square pixels and the size that they have in the video, even if it changes. A
    damaged frame is left out and counted in ``damaged``; it never comes with the content of another frame.
    """

    def __init__(
        self,
        address: str,
        *,
        live: bool = False,
        open_timeout_s: float | None = None,
        read_timeout_s: float | None = None,
        options: Mapping[str, str] | None = None,
        decode: str = SOFTWARE,
    ) -> None:
        """Open a video.

        Args:
            address: absolute path of a file, or address of a network stream with its credentials.
            live: decode without the delay of several threads.
            open_timeout_s: seconds after which opening fails; None: never.
            read_timeout_s: seconds after which a read fails; None: never.
            options: options of FFmpeg's demuxer and protocol, such as ``{"rtsp_transport": "tcp"}``.
            decode: the decoder, see `choose_device`. A device's first frames are read and compared at once.

        Raises:
            av.error.FFmpegError: the address cannot be opened. The message may hold credentials.
            SourceError: there is no video in it, or no decoder for it, or the named device does not decode it. The
                message has no name.
        """
        self.damaged = 0
        """Damaged frames since the newest one that `read` returned, or since the start."""
        self.failure = ""
        """Reason why `read` returned False, without the address; empty at the regular end."""
        self.lasts_s = 0.0
        """Seconds that the newest frame is shown; 0: the video does not state it."""
        self._live = live
        self._time_s = 0.0
        self._connect = partial(
            av.open,
            address,
            options=dict(options or {}),
            timeout=(open_timeout_s, read_timeout_s),
            metadata_errors="replace",
        )
        self._returned = 0  # frames of this container
        self._ahead: deque[ShownImage] = deque()  # frames that were read when the device was proven
        self._named = decode != AUTO
        self._device, self.remark = choose_device(decode)
        """The remark: the decoder, half a sentence; empty if none was requested."""
        if self._device is None:
            self._start()
        else:
            self._start_with_device(self._device)

    def _start(self) -> None:
        """Open the container and its video, to be decoded by the device, if there is one. Raises: as `__init__`."""
        self._container = self._connect(hwaccel=None if self._device is None else hardware(self._device))
        try:
            self._stream = choose_stream(self._container)
        except BaseException:
            self._container.close()
            raise
        context = self._stream.codec_context
        self._stream.thread_type = "SLICE" if self._live or self._device else "AUTO"
        self._aspect = self._stream.sample_aspect_ratio
        self._header_aspect = context.sample_aspect_ratio
        # The average, because the most frequent step of a video with a varying rate says little about it.
        self._fps = float(self._stream.average_rate or self._stream.guessed_rate or 0)
        self._reached_s = float("-inf")
        self._cut: av.Packet[av.VideoStream] | None = None
        # AVI has no presentation times, only the order of the packets; frames come out in the order of presentation.
        self._stamps: deque[int] | None = deque() if self._container.format.name == "avi" else None
        self._hardware: HardwareDecoder | None = None
        if self._device is not None:
            try:
                self._hardware = HardwareDecoder(device_decoder(context), context)
            except HardwareError:
                self._container.close()
                raise
        self._frames = self._read_all()

    def _start_with_device(self, device: str) -> None:
        """Open the video and read its first frames with a device; with the software decoder, should it fail."""
        try:
            self._start()
            try:
                self._ahead.extend(itertools.islice(self._frames, 1))
            except BaseException:
                self.release()
                raise
        except HardwareError as error:
            self._leave_device(str(error))
        except RuntimeError:  # PyAV's, if no stream of the container has a decoder for the device
            self._leave_device("does not decode it")
        else:
            self.remark = f"decoded by {device}"

    def _leave_device(self, reason: str) -> None:
        """Open the video again, in software. Raises: SourceError: the device was named; or as `__init__` does."""
        device, self._device = self._device, None
        if self._named:
            raise SourceError(f"{device} {reason}; without --decode {device} it is decoded in software")
        self.damaged = 0
        self._start()
        self.remark = f"decoded in software: {device} {reason}"

    @property
    def start_s(self) -> float | None:
        """Time at which the video starts, on the clock that all streams of the file share, in seconds."""
        start = self._stream.start_time
        return None if start is None else float(start * time_base(self._stream))

    @property
    def has_sound(self) -> bool:
        """The file has a sound track."""
        return bool(self._container.streams.audio)

    @property
    def duration_s(self) -> float | None:
        """Duration that the header states, in seconds; None if it states none, as for streams."""
        if self._stream.duration is not None:
            return float(self._stream.duration * time_base(self._stream))
        duration = self._container.duration
        return None if duration is None else duration / av.time_base

    def read(self) -> tuple[bool, Image | None]:
        """Wait for the next frame, uint8 (H, W, 3) BGR; False at the end, after an error or a time-out."""
        self.damaged = 0
        try:
            shown = self._ahead.popleft() if self._ahead else next(self._frames, None)
        except HardwareError as error:
            shown = self._read_in_software(str(error))
        if shown is None:
            return False, None
        self._returned += 1
        self._time_s, self.lasts_s = shown.time_s, shown.lasts_s
        return True, shown.image

    def _read_in_software(self, reason: str) -> ShownImage | None:
        """Return the next frame of a file, in software; None for a stream, which has to be opened again."""
        if self._live and not self._count():
            self.failure = f"{self._device} {reason}"
            return None
        self.release()
        try:
            self._leave_device(reason)
        except av.error.FFmpegError as error:
            self.failure = _reason(error)
            return None
        shown = next(itertools.islice(self._frames, self._returned, None), None)
        self.damaged = 0
        return shown

    def get(self, propId: int, /) -> float:  # noqa: N803 - OpenCV's name
        """Return the property with this OpenCV number: times, rate, count, size and codec; 0 if it is not known."""
        context = self._stream.codec_context
        values: dict[int, Callable[[], float]] = {
            cv2.CAP_PROP_POS_MSEC: lambda: self._time_s * 1000,
            cv2.CAP_PROP_FPS: lambda: self._fps,
            cv2.CAP_PROP_FRAME_COUNT: self._count,
            cv2.CAP_PROP_FRAME_WIDTH: lambda: float(context.width),
            cv2.CAP_PROP_FRAME_HEIGHT: lambda: float(context.height),
            cv2.CAP_PROP_FOURCC: lambda: float(cv2.VideoWriter.fourcc(*fourcc_letters(context.codec.canonical_name))),
        }
        return values[propId]() if propId in values else 0.0

    def release(self) -> None:
        """Close the file or connection."""
        self._frames.close()
        self._container.close()

    @property
    def reached_end(self) -> bool:
        """The end that the header states was read, of the video or of the sound, whichever is longer."""
        start, duration = self._container.start_time, self._container.duration
        if start is None or duration is None:
            return False
        return self._reached_s >= (start + duration * _NEARLY_ALL) / av.time_base

    def _count(self) -> float:
        """Return the number of frames in the header, without those that an edit list hides; 0 if it states none."""
        by_time = self._fps * (self.duration_s or 0.0)
        counted = float(self._stream.frames)
        return min(counted, by_time) if counted and by_time else counted or by_time

    def _read_all(self) -> Generator[ShownImage, None, None]:
        converter, unit = FrameConverter(), time_base(self._stream)
        clock, step_s = StreamClock(self.start_s, self._container), 1 / (self._fps or DEFAULT_FPS)
        try:
            for frame in self._decode():
                stamp = frame.dts if frame.pts is None else frame.pts
                if self._stamps is not None:
                    stamp = self._stamps.popleft() if self._stamps else None
                time_s = clock.next_s(None if stamp is None else float(stamp * unit), step_s)
                yield from converter.convert(frame, time_s, float(frame.duration * unit), self._pixel_aspect())
            yield from converter.flush()
        except av.error.FFmpegError as error:
            context = self._stream.codec_context
            colours = f"pixel format {context.pix_fmt}, colour matrix {int(context.colorspace)}"
            self.failure = f"FFmpeg cannot convert its colours ({colours}): {_reason(error)}"

    def _decode(self) -> Iterator[av.VideoFrame]:
        """Yield the frames that are whole."""
        failures, unread = 0, 0
        for packet in self._packets():
            if packet is None:
                failures, unread = failures + 1, unread + 1
                if failures >= MOST_DAMAGED:
                    return
                continue
            try:
                frames = packet.decode() if self._hardware is None else self._hardware.decode(packet)
                damaged = False
            except av.error.EOFError:  # the decoder was emptied already
                return
            except av.error.InvalidDataError:
                frames, damaged = [], True
            whole = [frame for frame in frames if not frame.is_corrupt]
            if self._device is not None and not self._live and (damaged or len(whole) < len(frames)):
                raise HardwareError("meets damaged data, which only the software decoder tells reliably")
            left_out = damaged + len(frames) - len(whole)
            if self._stamps is not None:
                for _ in range(min(left_out, len(self._stamps))):
                    self._stamps.popleft()
            if whole:  # otherwise it may be the end of a truncated file
                left_out, failures, unread = left_out + unread, 0, 0
            self.damaged += left_out
            failures += damaged
            if failures >= MOST_DAMAGED:
                return
            yield from whole
        if self._hardware is not None and self._hardware.holds_frames and not self._live:
            raise HardwareError("was not proven before the end of the data")

    def _packets(self) -> Iterator["av.Packet[av.VideoStream] | None"]:
        """Yield the packets of the video; None: one that cannot be read."""
        while True:
            try:
                for packet in self._container.demux():
                    if packet.pts is not None and packet.time_base:
                        end_s = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                        self._reached_s = max(self._reached_s, end_s)
                    if packet.stream.index == self._stream.index:  # the last packet has no stream_index
                        yield from self._held(cast("av.Packet[av.VideoStream]", packet))
            except av.error.InvalidDataError:
                yield None
                continue
            except (av.error.ExitError, av.error.TimeoutError):
                self.failure = "no data came in time"
            except av.error.FFmpegError as error:  # its text holds the address
                self.failure = _reason(error)
            return

    def _held(self, packet: "av.Packet[av.VideoStream]") -> Iterator["av.Packet[av.VideoStream] | None"]:
        """Yield a packet, but one that is cut only if another follows: the last of a truncated file is no frame.

        Its error would come when the decoder is emptied, and the frames behind it would be lost.
        """
        cut, self._cut = self._cut, None
        if cut is not None:
            yield cut if packet.size else None
        if packet.is_corrupt and packet.size:
            self._cut = packet
            return
        if self._stamps is not None and packet.dts is not None:
            self._stamps.append(packet.dts)
        yield packet

    def _pixel_aspect(self) -> Fraction | None:
        """Return the aspect of a pixel: the container's, until the video itself states another than at its start."""
        now = self._stream.codec_context.sample_aspect_ratio
        return self._aspect if now == self._header_aspect else now


def _reason(error: av.error.FFmpegError) -> str:
    return (error.strerror or type(error).__name__).lower()
