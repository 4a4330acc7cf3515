"""Encode small videos of many kinds with PyAV."""

from fractions import Fraction

import av
import numpy as np

MOVES = 4
"""Pixels that the square of `scene` moves from one picture to the next."""


def scene(number, height=96, width=128):
    """Return a BGR image: a gradient, and a square whose place depends on ``number``."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(40, 220, width, dtype=np.uint8)
    image[..., 1] = 90
    image[..., 2] = np.linspace(40, 220, height, dtype=np.uint8)[:, None]
    left = MOVES * number % (width - width // 4)
    image[height // 4 : height // 2, left : left + width // 4] = (30, 200, 240)
    return image


def woven(number, height=96, width=128):
    """Return an interlaced image: the even rows are of one picture, the odd ones of the next."""
    image = scene(2 * number, height, width)
    image[1::2] = scene(2 * number + 1, height, width)[1::2]
    return image


def encode(
    path,
    images,
    codec="libx264",
    *,
    pixels="yuv420p",
    rate=25,
    times_ms=None,
    interlaced=False,
    options=None,
    aspect=None,
    matrix=None,
    full_range=False,
    container=None,
    turn=None,
):
    """Write a video.

    Args:
        path: the file.
        images: BGR images of one size.
        codec: FFmpeg's name of the encoder.
        pixels: FFmpeg's name of the pixel format.
        rate: frames per second.
        times_ms: time of each frame; None: even.
        interlaced: flag the frames as interlaced, top field first.
        options: options of the encoder.
        aspect: width of a pixel divided by its height.
        matrix: AVColorSpace that the frames are converted with and labelled as.
        full_range: use all values of luma.
        container: FFmpeg's name of the container; None: by the suffix.
        turn: degrees by which a player turns the picture.
    """
    weave = av.filter.Graph()
    height, width = images[0].shape[:2]
    buffer = f"video_size={width}x{height}:pix_fmt=bgr24:time_base=1/1000"
    weave.link_nodes(weave.add("buffer", buffer), weave.add("setfield", "tff"), weave.add("buffersink")).configure()
    quiet = {"libx265": {"x265-params": "log-level=none"}}.get(codec, {})
    with av.open(str(path), "w", format=container) as video:
        stream = video.add_stream(codec, rate=rate, options=quiet | (options or {}))
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        context = stream.codec_context
        if times_ms is not None:
            context.time_base = Fraction(1, 1000)
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        if matrix is not None:
            context.colorspace = matrix
        if full_range:
            context.color_range = 2
        if turn is not None:
            stream.set_display_rotation(turn)
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            if interlaced:  # before the conversion, which then keeps the colours of the two fields apart
                weave.vpush(frame)
                frame = weave.vpull()
            frame = frame.reformat(format=pixels, dst_colorspace=matrix, dst_color_range=2 if full_range else 1)
            frame.pts = number if times_ms is None else times_ms[number]
            frame.time_base = Fraction(1) / rate if times_ms is None else Fraction(1, 1000)
            video.mux(stream.encode(frame))
        video.mux(stream.encode(None))
    return path


def trim(source, target, first):
    """Copy a video from frame ``first`` on without encoding; an edit list hides the frames from the key frame on."""
    with av.open(str(source)) as whole, av.open(str(target), "w") as cut:
        stream = whole.streams.video[0]
        copy = cut.add_stream_from_template(stream)
        shift = round(first / stream.average_rate / stream.time_base)
        whole.seek(shift, stream=stream)
        for packet in whole.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copy
                cut.mux(packet)
    return target
