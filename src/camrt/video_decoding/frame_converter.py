"""Convert decoded frames to BGR images: progressive, upright and with square pixels. Needs PyAV (extra ``video``)."""

import struct
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Final, NamedTuple

import av
import av.error
import av.filter
import numpy as np
from av.sidedata.sidedata import Type

from camrt.images import Image
from camrt.video_decoding.square_pixels import square_size

_RGB: Final = 0  # of AVColorSpace
_RESERVED: Final = 3  # of AVColorSpace
_UNSPECIFIED: Final = 2  # of AVColorSpace, AVColorPrimaries and AVColorTransferCharacteristic
_KNOWN_MATRICES: Final = range(
    1, 18
)  # of AVColorSpace; swscale has an error for those it does not convert, such as YCgCo


class _Form(NamedTuple):
    """Everything that the conversion of a frame depends on."""

    width: int
    height: int
    pixels: str
    matrix: int
    range: int
    square: tuple[int, int]
    """Width and height with square pixels, before the frame is turned."""
    turn: str
    """FFmpeg's filters that turn the frame upright."""
    interlaced: bool


class ShownImage(NamedTuple):
    """A converted frame."""

    time_s: float
    lasts_s: float
    image: Image


class FrameConverter:
    """A chain of FFmpeg's filters, which is built again when the size or the format of the frames changes.

    Frames that are flagged as interlaced are deinterlaced. From the first of them on, a frame comes out when the next
    one was put in. Colours are converted with the matrix and the range that the frame states. A frame that cannot be
    converted is an error, unlike with `cv2.VideoCapture`, which returns the memory of another frame.
    """

    def __init__(self, *, upright: bool = True) -> None:
        """Prepare.

        Args:
            upright: turn frames as they state; False: leave them as they are stored.
        """
        self._upright = upright
        self._form: _Form | None = None
        self._graph: av.filter.Graph | None = None
        self._interlaced = False
        self._turn: tuple[int, str] | None = None  # rotation in degrees, and the filters for it
        self._count = 0  # frames that were put into the chain
        self._times: deque[tuple[float, float]] = deque()  # of the frames that are still in the chain

    def convert(
        self, frame: av.VideoFrame, time_s: float, lasts_s: float, aspect: Fraction | None
    ) -> Iterator[ShownImage]:
        """Put a frame into the chain, and yield the frames that are ready.

        Args:
            frame: a decoded frame; its times and colour tags are changed.
            time_s: presentation time, in seconds.
            lasts_s: duration, in seconds; 0: unknown.
            aspect: width of a pixel divided by its height; None: square.

        Yields:
            times in seconds, and image, uint8 (H, W, 3) BGR.

        Raises:
            av.error.FFmpegError: FFmpeg cannot convert such a frame.
        """
        self._interlaced = self._interlaced or frame.interlaced_frame
        # swscale refuses reserved values of these three, and the last two do not matter for 8 bits.
        frame.colorspace = _matrix(frame)
        frame.color_trc = frame.color_primaries = _UNSPECIFIED
        form = _Form(
            width=frame.width,
            height=frame.height,
            pixels=frame.format.name,
            matrix=int(frame.colorspace),
            range=int(frame.color_range),
            square=square_size(frame.width, frame.height, aspect),
            turn=self._turn_of(frame) if self._upright else "",
            interlaced=self._interlaced,
        )
        if form != self._form:
            yield from self.flush()
            self._graph = _build(form)
            self._form = form
        frame.pts, frame.time_base = self._count, Fraction(1, 1)
        self._count += 1
        self._times.append((time_s, lasts_s))
        assert self._graph is not None
        self._graph.vpush(frame)
        yield from self._ready(self._graph)

    def flush(self) -> Iterator[ShownImage]:
        """Yield the frames that are still in the chain; the next frame begins a new chain."""
        graph, self._graph, self._form = self._graph, None, None
        if graph is not None:
            graph.vpush(None)
            yield from self._ready(graph)
        self._times.clear()

    def _turn_of(self, frame: av.VideoFrame) -> str:
        # Reading the matrix makes a frame part of a reference cycle, and the frames would fill the memory.
        if self._turn is None or self._turn[0] != frame.rotation:
            self._turn = frame.rotation, _turn(frame)
        return self._turn[1]

    def _ready(self, graph: av.filter.Graph) -> Iterator[ShownImage]:
        while True:
            try:
                frame = graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            # The rows are padded for a few widths only; then this copies.
            yield ShownImage(*self._times.popleft(), np.ascontiguousarray(frame.to_ndarray()))


def _build(form: _Form) -> av.filter.Graph:
    width, height = form.square
    filters = [
        f"buffer=video_size={form.width}x{form.height}:pix_fmt={form.pixels}:time_base=1/1"
        f":colorspace={form.matrix}:range={form.range}",
        *(["bwdif=mode=send_frame:parity=auto:deint=interlaced"] if form.interlaced else []),
        f"scale={width}:{height}:flags=bicubic",
        "format=bgr24",
        *form.turn.split(),
        "buffersink",
    ]
    graph = av.filter.Graph()
    graph.link_nodes(*(graph.add(*text.split("=", 1)) for text in filters)).configure()
    return graph


def _matrix(frame: av.VideoFrame) -> int:
    """Return the AVColorSpace to convert with; a value without a meaning is unspecified, which means BT.601."""
    if frame.format.is_rgb:
        return _RGB
    value = int(frame.colorspace)
    return value if value in _KNOWN_MATRICES and value != _RESERVED else _UNSPECIFIED


def _turn(frame: av.VideoFrame) -> str:
    """Return the filters for the display matrix of a frame, as FFmpeg's own programs choose them."""
    side_data: Any = frame.side_data  # PyAV's annotation is not what it is
    matrix = next((data for data in side_data if data.type is Type.DISPLAYMATRIX), None)
    if matrix is None:
        return ""
    a, b, _, c, d = struct.unpack("5i", memoryview(matrix)[:20])
    if abs(b) > abs(a):  # x and y are exchanged
        return {(1, 1): "transpose=0", (1, -1): "transpose=1", (-1, 1): "transpose=2", (-1, -1): "transpose=3"}[
            (1 if b > 0 else -1, 1 if c > 0 else -1)
        ]
    return " ".join([*(["hflip"] if a < 0 else []), *(["vflip"] if d < 0 else [])])
