"""A real RTSP camera, H.264, of 320x240 at 30 fps."""

import subprocess
from contextlib import contextmanager
from pathlib import Path

from support.needs import skip_or_fail

SERVER = Path(__file__).with_name("rtsp_server.py")


@contextmanager
def serve():
    """Serve on the loopback interface; yields ``(process, address)``, to which ``/live`` or ``/short`` is added."""
    try:
        server = subprocess.Popen(
            ["/usr/bin/python3", SERVER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    except OSError as error:
        skip_or_fail(f"no system Python for GStreamer: {error}")
    with server:
        port = server.stdout.readline().strip()
        if not port:
            skip_or_fail(f"no RTSP server; install GStreamer's: {server.stderr.read().strip()[-200:]}")
        yield server, f"rtsp://127.0.0.1:{port}"
        server.kill()
