"""Videos over HTTP: a file, and cameras that send one JPEG after the other."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np

FRAMES = 30
STEP = 8
"""Frame n of a camera is grey, of value ``STEP * (n % 30)``."""


class _Handler(BaseHTTPRequestHandler):
    """``/video.mp4``, ``/short`` (30 frames), ``/endless``, ``/silent`` (nothing), ``/stalls`` (30, then nothing),
    ``/grows`` (30 frames of 64x48, then larger ones of another shape), ``/damaged`` (every other JPEG is invalid),
    ``/breaks`` (30, then only invalid ones).
    """

    def do_GET(self):
        path = self.path.partition("?")[0]
        try:
            if path == "/video.mp4":
                self._send_file()
            elif path in ("/short", "/endless", "/stalls", "/silent", "/grows", "/damaged", "/breaks"):
                self._send_frames(path)
            else:
                self.send_error(404)
        except ConnectionError:
            pass  # the client closed the connection

    def _send_file(self):
        data = self.server.video.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _send_frames(self, path):
        if path != "/silent":
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for number in range(FRAMES if path in ("/short", "/stalls") else 10**6):
                size = (48, 64) if path != "/grows" or number < FRAMES else (96, 72)
                grey = np.full((*size, 3), STEP * (number % FRAMES), np.uint8)
                jpeg = cv2.imencode(".jpg", grey)[1].tobytes()
                if (path == "/damaged" and number % 2) or (path == "/breaks" and number >= FRAMES):
                    jpeg = jpeg[:2] + bytes(len(jpeg) - 4) + jpeg[-2:]
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")
                if self.server.stopping.wait(0.02):
                    return
        if path in ("/silent", "/stalls"):
            self.server.stopping.wait(60)

    def log_message(self, *_):
        pass


@contextmanager
def serve(video):
    """Serve on the loopback interface, and yield the address without a path."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.video = video
    server.stopping = threading.Event()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.stopping.set()
    server.shutdown()
    server.server_close()
    thread.join(5)
