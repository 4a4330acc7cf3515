"""A real RTSP camera, H.264, at 30 fps."""

import subprocess
from contextlib import contextmanager
from pathlib import Path

from support.needs import skip_or_fail

SERVER = Path(__file__).with_name("rtsp_server.py")


@contextmanager
def serve(port=0, size=(320, 240)):
    """Serve on the loopback interface, and yield ``(process, address)``.

    The paths are ``/live``, ``/short`` (60 frames) and ``/interlaced``.
    """
    command = ["/usr/bin/python3", SERVER, *map(str, (port, *size))]
    try:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    except OSError as error:
        skip_or_fail(f"no system Python for GStreamer: {error}")
    with server:
        try:
            bound = server.stdout.readline().strip()
            if not bound:
                skip_or_fail(f"no RTSP server; install GStreamer's: {server.stderr.read().strip()[-200:]}")
            yield server, f"rtsp://127.0.0.1:{bound}"
        finally:
            server.kill()
