"""A network camera in a separate process that tests can kill: the synthetic scene as MJPEG over HTTP.

python -m camrt.benchmarks.endurance.http_camera PORT [FPS]
"""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

import cv2

from camrt.synthetic_scene import Scene

FPS: Final = 15.0
_FRAMES: Final = 75


@contextlib.contextmanager
def camera(port: int, fps: float = FPS) -> Iterator[None]:
    """Run the camera in a separate process, and kill it at the end: no connection is closed, as if a cable is pulled.

    Args:
        port: port on the loopback interface, see `free_port`.
        fps: frames per second.
    """
    command = [sys.executable, "-m", "camrt.benchmarks.endurance.http_camera", str(port), str(fps)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            process.stdout.readline()
            yield
        finally:
            process.kill()


def free_port() -> int:
    """Return an unused port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def main() -> int:
    """Serve until the process ends; print a line as soon as the camera accepts connections."""
    port = int(sys.argv[1])
    fps = float(sys.argv[2]) if len(sys.argv) > 2 else FPS
    scene = Scene(seed=0)
    # Frames are encoded in advance, because a real camera does not use this machine's processor.
    parts = []
    for index in range(_FRAMES):
        data = cv2.imencode(".jpg", scene.view(index).image)[1].tobytes()
        header = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
        parts.append(header.encode() + data + b"\r\n")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            first = time.monotonic()
            number = 0
            try:
                while True:
                    self.wfile.write(parts[number % len(parts)])
                    number += 1
                    time.sleep(max(0.0, first + number / fps - time.monotonic()))
            except OSError:
                return  # the client has disconnected

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        server.daemon_threads = True
        print(f"http://127.0.0.1:{server.server_port}/", flush=True)
        server.serve_forever()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
