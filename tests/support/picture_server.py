"""An HTTP server whose answers are written byte by byte by a test."""

import io
import socket
import threading
from contextlib import contextmanager, suppress

import numpy as np
from PIL import Image


def picture(grey=90, kind="JPEG", size=(64, 48), **options):
    """Return an encoded picture of one grey value; ``size`` is width and height."""
    file = io.BytesIO()
    Image.fromarray(np.full((size[1], size[0], 3), grey, np.uint8)).save(file, kind, **options)
    return file.getvalue()


def answer(body, kind="image/jpeg", *, status="200 OK", length=True, headers=()):
    """Return a whole answer."""
    lines = [f"HTTP/1.1 {status}", *headers]
    lines += [f"Content-Type: {kind}"] if kind else []
    lines += [f"Content-Length: {len(body)}"] if length else []
    return "\r\n".join([*lines, "", ""]).encode() + body


class PictureServer:
    """``requests`` has the head of each request, as text; ``stopping`` is set at the end of the test."""

    def __init__(self, listening, handle, context=None):
        self.address = f"127.0.0.1:{listening.getsockname()[1]}"
        self.requests = []
        self.stopping = threading.Event()
        self._handle = handle
        self._listening = listening
        self._context = context
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def paths(self):
        return [request.split()[1] for request in self.requests]

    def _accept(self):
        with suppress(OSError):  # the test is over
            while True:
                connection, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        if self._context is not None:
            connection = self._context.wrap_socket(connection, server_side=True)
        with connection, suppress(OSError):
            request = b""
            while b"\r\n\r\n" not in request and request[:1] in (b"", b"G"):  # the client may begin with TLS
                if not (data := connection.recv(4096)):
                    return
                request += data
            self.requests.append(request.decode("latin-1"))
            for block in self._handle(self, self.requests[-1]):
                connection.sendall(block)
            connection.shutdown(socket.SHUT_WR)


@contextmanager
def serving(handle, context=None):
    """Serve on the loopback interface. ``handle(server, request)`` yields the bytes of an answer.

    With an SSL ``context`` the connections are encrypted.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = PictureServer(listening, handle, context)
        yield server
        server.stopping.set()
        listening.shutdown(socket.SHUT_RDWR)
