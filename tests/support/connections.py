"""Ports, and connections to network cameras with shorter time-outs than camrt's own."""

import socket

from camrt.runtime.sources.live.capture_thread import CaptureThread
from camrt.runtime.sources.network.address import NetworkAddress
from camrt.runtime.sources.network.url import redact


def connect(url, *, open_timeout_s=5.0, read_timeout_s=5.0, every_s=0.1):
    """Begin to open a stream, and return its capture thread."""
    address = NetworkAddress(
        url,
        open_timeout_s=open_timeout_s,
        read_timeout_s=read_timeout_s,
        segments_timeout_s=read_timeout_s,
        every_s=every_s,
    )
    return CaptureThread(redact(url), address.open, open_timeout_s=open_timeout_s, read_timeout_s=read_timeout_s)


def free_port():
    """Return a port of the loopback interface that no process uses."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]
