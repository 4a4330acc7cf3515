"""Prove that a hardware decoder gives the frames of the software decoder. Needs PyAV (extra ``video``)."""

import time
from collections.abc import Callable
from typing import Any, Final

import av
import av.error
import numpy as np

from camrt.images import Image
from camrt.video_decoding.frame_converter import FrameConverter
from camrt.video_decoding.hardware_devices import codec_name

_FRAMES: Final = 8
"""Equal frames that prove a decoder: with one or two of each kind of prediction, in usual streams."""
_LONGEST_S: Final = 2.0
"""A slow camera proves it with the frames of this time, at least one."""
_MOST_HELD: Final = 64
"""Frames without a partner after which the comparison ends."""
# swscale converts the formats of devices to BGR by other steps than the planar ones, a grey level apart. Planar is what
# the software decoder gives, and this conversion only moves bytes. Deeper formats come out equal as they are.
_PLANAR: Final = {"nv12": "yuv420p", "nv16": "yuv422p", "nv24": "yuv444p"}

Decode = Callable[["av.Packet[av.VideoStream]"], list[av.VideoFrame]]


class HardwareError(Exception):
    """A device cannot decode a video, or not any longer. The text is half a sentence that follows its name."""


def device_decoder(context: av.VideoCodecContext) -> Decode:
    """Return the decoder of a context that was opened for a device. Raises: HardwareError: the codec has none there."""
    if not context.is_hwaccel:
        raise HardwareError(f"does not decode {codec_name(context.codec.canonical_name)}")
    return context.decode


class _Unpaired:
    """Frames of one decoder by their presentation time; by their number, where a video states no times."""

    def __init__(self) -> None:
        self.frames: dict[int, av.VideoFrame] = {}
        self._count = 0

    def add(self, frames: list[av.VideoFrame]) -> None:
        for frame in frames:
            self.frames[self._count if frame.pts is None else frame.pts] = frame
            self._count += 1


class HardwareDecoder:
    """Decodes with a device. The first frames are compared with those of the software decoder and held until then.

    The software decoder gets the same packets, so a camera needs no second connection. Decoding of the codecs in use
    (H.264, H.265, VP9, AV1) is exact to the bit, so frames must be equal: pixels, colours, crop, interlacing.
    """

    def __init__(self, decode: Decode, context: av.VideoCodecContext) -> None:
        """Prepare.

        Args:
            decode: decodes a packet with the device.
            context: states the codec and its header; not opened here.
        """
        self._decode = decode
        self._software: Any = av.CodecContext.create(context.codec.name, "r")
        # The container's statements hold where the video itself has none.
        for name in ("extradata", "width", "height", "color_range", "colorspace"):
            setattr(self._software, name, getattr(context, name))
        self._held: list[av.VideoFrame] = []
        self._of_device = _Unpaired()
        self._of_software = _Unpaired()
        self._equal = 0
        self._start_s = time.monotonic()
        self._form: tuple[int, int, str, bool] | None = None

    def decode(self, packet: "av.Packet[av.VideoStream]") -> list[av.VideoFrame]:
        """Return the frames that are ready; none until the decoder is proven. An empty packet ends the video.

        Raises:
            HardwareError: the device gives other frames than the software decoder, cannot decode the video, or the
                video became another one (size, pixel format, interlacing).
            av.error.InvalidDataError: the packet is damaged, for the software decoder too as long as it runs.
        """
        failure: av.error.FFmpegError | None = None
        frames: list[av.VideoFrame] = []
        try:
            frames = [_planar(frame) for frame in self._decode(packet)]
        except (av.error.EOFError, av.error.InvalidDataError) as error:
            failure = error
        except av.error.FFmpegError as error:
            raise HardwareError(f"cannot decode it: {(error.strerror or type(error).__name__).lower()}") from error
        if self._software is not None:
            return self._prove(packet, frames, failure)
        if failure is not None:
            raise failure
        if any(self._form_of(frame) != self._form for frame in frames):
            raise HardwareError("was proven for another size or kind of frames than the video has now")
        return frames

    @property
    def holds_frames(self) -> bool:
        """Frames were decoded that are not proven yet."""
        return bool(self._held)

    def _prove(
        self, packet: "av.Packet[av.VideoStream]", frames: list[av.VideoFrame], failure: av.error.FFmpegError | None
    ) -> list[av.VideoFrame]:
        try:
            software = self._software.decode(packet)
        except (av.error.EOFError, av.error.InvalidDataError):
            if failure is not None:
                raise
            raise HardwareError("decodes what the software decoder finds damaged") from None
        if failure is not None:
            raise HardwareError("cannot decode it: it finds the data invalid") from failure
        self._held += frames
        self._of_device.add(frames)
        self._of_software.add(software)
        for stamp in self._of_device.frames.keys() & self._of_software.frames.keys():
            if not _are_equal(self._of_device.frames.pop(stamp), self._of_software.frames.pop(stamp)):
                raise HardwareError("gives other frames than the software decoder")
            self._equal += 1
        late = self._equal > 0 and time.monotonic() - self._start_s > _LONGEST_S
        if self._equal < _FRAMES and not late and packet.size and len(self._held) < _MOST_HELD:
            return []
        if self._equal == 0:
            raise HardwareError("gives no frame that the software decoder gives too")
        self._software = None
        self._of_device, self._of_software = _Unpaired(), _Unpaired()
        self._form = self._form_of(self._held[-1])
        held, self._held = self._held, []
        return held

    @staticmethod
    def _form_of(frame: av.VideoFrame) -> tuple[int, int, str, bool]:
        return frame.width, frame.height, frame.format.name, bool(frame.interlaced_frame)


def _planar(frame: av.VideoFrame) -> av.VideoFrame:
    planar = _PLANAR.get(frame.format.name)
    return frame if planar is None else frame.reformat(format=planar)


def _are_equal(frame: av.VideoFrame, other: av.VideoFrame) -> bool:
    stated = ((f.interlaced_frame, f.duration, f.dts if f.pts is None else 0) for f in (frame, other))
    return len(set(stated)) == 1 and np.array_equal(_image(frame), _image(other))


def _image(frame: av.VideoFrame) -> Image:
    """Convert a frame as it will be shown, and leave its times as they are.

    It is not turned upright: the rotation is the container's, which the decoder here does not know.
    """
    times = frame.pts, frame.time_base
    converter = FrameConverter(upright=False)
    shown = [*converter.convert(frame, 0.0, 0.0, None), *converter.flush()]
    frame.pts, frame.time_base = times
    return shown[0].image
