"""Encode small videos of many kinds with PyAV."""

from fractions import Fraction

import av
import numpy as np

from camrt.errors import SourceError

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
    marks=None,
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
        marks: further attributes of the encoder.
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
        for name, value in (marks or {}).items():
            setattr(context, name, value)
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


def read_until_error(source):
    """Return the images of a source, and the error that ended it; None if it was read to the end."""
    images = []
    try:
        while (frame := source.read()) is not None:
            images.append(frame.image)
    except SourceError as error:
        return images, str(error)
    return images, None


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


RATE = 48_000
"""Samples of sound per second."""


def beeps(duration_s, every_s=0.5, channels=2):
    """Return sound, float32 (channels, samples): a short beep at the start of each period, and silence between."""
    time_s = np.arange(round(duration_s * RATE)) / RATE
    sound = np.where(time_s % every_s < 0.1, 0.5 * np.sin(2 * np.pi * 1000 * time_s), 0)
    return np.tile(sound.astype(np.float32), (channels, 1))


def encode_with_sound(
    path,
    images,
    sound,
    codec="aac",
    *,
    rate=25,
    times_ms=None,
    sound_starts_s=0.0,
    video_starts_s=0.0,
    tracks=1,
    container=None,
):
    """Write a video with sound; the picture is H.264 where the container has times for it."""
    height, width = images[0].shape[:2]
    with av.open(str(path), "w", format=container) as video:
        codecs = {".mpg": "mpeg2video", ".avi": "mpeg4"}  # FFmpeg guesses wrong times for H.264 in these two
        stream = video.add_stream(codecs.get(str(path)[-4:], "libx264"), rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        if times_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        tracks = [video.add_stream(codec, rate=RATE, layout="stereo") for _ in range(tracks)]
        packets = []
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            if times_ms is None:
                frame.pts = number + round(video_starts_s * rate)
            else:
                frame.pts, frame.time_base = times_ms[number] + round(video_starts_s * 1000), Fraction(1, 1000)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        for track in tracks:
            for start in range(0, sound.shape[1] - 1023, 1024):
                frame = av.AudioFrame.from_ndarray(
                    np.ascontiguousarray(sound[:, start : start + 1024]), format="fltp", layout="stereo"
                )
                frame.rate, frame.pts = RATE, start + round(sound_starts_s * RATE)
                packets += track.encode(frame)
            packets += track.encode(None)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            video.mux(packet)
    return path


def decode_sound(path, track=0):
    """Return the sound of a file, float32 (samples,), and the time of its first sample in seconds, and the codec."""
    with av.open(str(path)) as video:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
        start_s, samples = None, []
        for frame in video.decode(audio=track):
            start_s = frame.time if start_s is None else start_s
            samples += [part.to_ndarray()[0] for part in resampler.resample(frame)]
        samples += [part.to_ndarray()[0] for part in resampler.resample(None)]
        return np.concatenate(samples), start_s, video.streams.audio[track].codec_context.codec.canonical_name


def beep_starts(path, track=0):
    """Return the times at which the beeps of a file begin, in seconds on the clock of the file."""
    samples, start_s, _ = decode_sound(path, track)
    loud = np.convolve(np.abs(samples) > 0.1, np.ones(200), "same") > 0
    starts = np.flatnonzero(loud[1:] & ~loud[:-1]) + 1
    return [float(start / RATE + start_s) for start in ([0] if loud[0] else []) + list(starts)]


def frame_times(path):
    """Return the times of the frames of a file, in seconds on the clock of the file."""
    with av.open(str(path)) as video:
        return [frame.time for frame in video.decode(video=0)]
