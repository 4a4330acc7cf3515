"""Write videos with `VideoSink`, and read them."""

import numpy as np

from camrt.runtime.sinks import VideoSink
from camrt.runtime.sources import open_source
from support.overlays import rendered


def write_images(path, images, *, fps=12.5, **options):
    """Write a finished video."""
    sink = VideoSink(path, fps=fps, **options)
    for index, image in enumerate(images):
        sink.write(rendered(index, image=image))
    sink.close()


def noise(index):
    """Return a noise image, 240x320, which takes about 70 KB of a video."""
    return np.random.default_rng(index).integers(0, 255, (240, 320, 3), np.uint8)


def append_noise(sink, indices):
    """Write noise images to an open video."""
    for index in indices:
        sink.write(rendered(index, image=noise(index)))


def noise_video(path, frames, **options):
    """Return an open video of noise images."""
    sink = VideoSink(path, fps=10, **options)
    append_noise(sink, range(frames))
    return sink


def read_source(path):
    """Return a video as an ended source, and its images."""
    source = open_source(str(path))
    images = [frame.image for frame in iter(source.read, None)]
    source.close()
    assert source.problems == []
    return source, images
