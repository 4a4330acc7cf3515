"""A network camera made of the synthetic scene: MJPEG over HTTP, in a process of its own, to be killed at will.

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
    """Run the camera in a process of its own; at the end it is killed, as when a cable is pulled: nothing is said."""
    command = [sys.executable, "-m", "camrt.benchmarks.endurance.http_camera", str(port), str(fps)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            process.stdout.readline()
            yield
        finally:
            process.kill()


def free_port() -> int:
    """Return a port of the loopback interface that nobody uses."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


def main() -> int:
    """Serve until the process is ended; prints a line when it can be reached."""
    port = int(sys.argv[1])
    fps = float(sys.argv[2]) if len(sys.argv) > 2 else FPS
    scene = Scene(seed=0)
    # Encoded beforehand: a real camera takes nothing of this machine's time.
    parts = []
    for index in range(_FRAMES):
        data = cv2.imencode(".jpg", scene.view(index).image)[1].tobytes()
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
        parts.append(head.encode() + data + b"\r\n")

    class Camera(BaseHTTPRequestHandler):
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
                return  # whoever watched has gone

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", port), Camera) as server:
        server.daemon_threads = True
        print(f"http://127.0.0.1:{server.server_port}/", flush=True)
        server.serve_forever()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
