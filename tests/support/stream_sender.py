"""A sender of a numbered stream, in a process of its own: PyAV holds the GIL while it waits for a connection."""

import subprocess
import sys
import time
from contextlib import contextmanager
from fractions import Fraction

from support.hls_camera import FPS, frame_with
from support.needs import environment

_LONGEST_S = 60


@contextmanager
def sending(url, container, delay_s=0.0):
    """Send to an address in real time, after ``delay_s`` seconds, until the end of the block."""
    command = [sys.executable, "-m", "support.stream_sender", url, container, str(delay_s)]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL) as sender:
        yield
        sender.kill()


def _send(url, container, delay_s):
    import av

    time.sleep(delay_s)
    with av.open(url, "w", container) as output:
        stream = output.add_stream("libx264", FPS, options={"preset": "ultrafast", "tune": "zerolatency"})
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 128, 64, "yuv420p", FPS
        start_s = time.monotonic()
        for number in range(_LONGEST_S * FPS):
            time.sleep(max(0.0, start_s + number / FPS - time.monotonic()))
            frame = frame_with(number % 256)
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            output.mux(stream.encode(frame))


if __name__ == "__main__":
    _send(sys.argv[1], sys.argv[2], float(sys.argv[3]))
