"""A live HLS stream over HTTP, made in real time by PyAV."""

import threading
import time
from contextlib import contextmanager, suppress
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import av
import numpy as np

FPS = 15


def number_of(image):
    """Return the number that a frame shows, modulo 256."""
    bits = image[8:24, :, 1].reshape(16, 8, -1).mean(axis=(0, 2)) > 128
    return int(sum(2**place for place, bit in enumerate(bits) if bit))


def frame_with(number):
    """Return a frame of 128x64 that shows a number as a row of eight black or white squares."""
    image = np.full((64, 128, 3), 90, np.uint8)
    for place in range(8):
        image[8:24, 16 * place : 16 * place + 16] = 255 if number >> place & 1 else 0
    image[40:] = np.random.default_rng(number).integers(0, 256, (24, 128, 3))  # noise: no frame equals another
    return av.VideoFrame.from_ndarray(image, "rgb24")


class _Handler(SimpleHTTPRequestHandler):
    def do_GET(self):
        while self.server.held.is_set() and not self.server.stopping.wait(0.05):
            pass
        with suppress(ConnectionError):  # the client closed the connection
            super().do_GET()

    def log_message(self, *_):
        pass


def _write(folder, stopping, segment_s, **options):
    settings = {"hls_time": str(segment_s), "hls_list_size": "5", "hls_flags": "delete_segments", **options}
    with av.open(str(folder / "live.m3u8"), "w", "hls", options=settings) as output:
        stream = output.add_stream("libx264", FPS, options={"preset": "ultrafast", "tune": "zerolatency", "crf": "18"})
        stream.width, stream.height, stream.pix_fmt = 128, 64, "yuv420p"
        stream.gop_size = round(FPS * segment_s)
        start_s = time.monotonic()
        number = 0
        while not stopping.wait(max(0.0, start_s + number / FPS - time.monotonic())):
            frame = frame_with(number % 256)
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            output.mux(stream.encode(frame))
            number += 1


class HlsCamera:
    """``address`` is the playlist; while ``held`` is set, no request is answered."""

    def __init__(self, server):
        self.held = server.held
        self.address = f"http://127.0.0.1:{server.server_port}/live.m3u8"


@contextmanager
def files(folder):
    """Serve the files of a folder, and yield the server. While its ``held`` is set, no request is answered."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
    server.daemon_threads = True
    server.held, server.stopping = threading.Event(), threading.Event()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


@contextmanager
def serving(folder, segment_s=1.0, **options):
    """Serve a live stream, after three of its segments exist."""
    stopping = threading.Event()
    writer = threading.Thread(target=_write, args=(folder, stopping, segment_s), kwargs=options)
    writer.start()
    try:
        with files(folder) as server:
            playlist = folder / "live.m3u8"
            while not playlist.exists() or playlist.read_text().count("#EXTINF") < 3:
                time.sleep(0.05)
            yield HlsCamera(server)
    finally:
        stopping.set()
        writer.join()
