"""An H.264 video with the content and the bit rate of a camera, as streams and recorders have it."""

from pathlib import Path
from typing import Final

import av
import cv2
import numpy as np

from camrt.images import Image

FPS: Final = 30
SECONDS: Final = 4
_NOISE: Final = 3.0
"""Standard deviation of the sensor's noise, in grey levels."""


def write_camera_video(path: Path, width: int, height: int) -> float:
    """Write four seconds of a slowly moving camera over a textured scene, at 30 fps; needs PyAV (extra ``video``).

    Args:
        path: an MP4 file.
        width: width in pixels, even.
        height: height in pixels, even.

    Returns: the bit rate in megabits per second. Constant quality (CRF 23), a key frame each second, no B-frames: what
    network cameras send.
    """
    random = np.random.default_rng(0)
    scene = _scene(width + FPS * SECONDS, height + FPS * SECONDS, random)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "crf": "23", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.gop_size = FPS
        noise = [random.normal(0, _NOISE, (height, width, 3)).astype(np.int8) for _ in range(4)]
        for number in range(FPS * SECONDS):
            view = scene[number // 2 : number // 2 + height, number : number + width]
            image = cv2.add(view, noise[number % len(noise)], dtype=cv2.CV_8U)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(image, np.uint8), format="bgr24")))
        container.mux(stream.encode(None))
    return path.stat().st_size * 8 / SECONDS / 1e6


def _scene(width: int, height: int, random: np.random.Generator) -> Image:
    """Return an image whose detail falls with the frequency, as in photos: noise of all scales, summed."""
    scene = np.zeros((height, width, 3), np.float32)
    for octave in range(1, 8):
        size = max(2, width >> (8 - octave)), max(2, height >> (8 - octave))
        coarse = random.normal(0, 60 / octave, (size[1], size[0], 3)).astype(np.float32)
        scene += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.clip(scene + 128, 0, 255).astype(np.uint8)
