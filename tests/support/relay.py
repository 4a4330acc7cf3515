"""Relay between a browser and a server that cuts only the connection of the image stream."""

import socket
import struct
import threading
from contextlib import contextmanager, suppress


class Relay:
    """Passes bytes on between both sides."""

    def __init__(self, listening, port):
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        self.streams = []
        """Connections to the browser with a request for the image stream."""
        self._listening = listening
        self._port = port
        self._reset = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, *, reset):
        """Close the newest stream. With ``reset`` the browser gets a TCP reset, as after a restart of the server."""
        stream = self.streams[-1]
        if reset:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._reset.add(stream)
        self._end(stream)

    def _end(self, connection):
        with suppress(OSError):  # the connection has ended
            connection.shutdown(socket.SHUT_RD if connection in self._reset else socket.SHUT_RDWR)

    def _accept(self):
        with suppress(OSError):  # the test is over
            while True:
                browser, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(browser,), daemon=True).start()

    def _serve(self, browser):
        with browser, socket.create_connection(("127.0.0.1", self._port)) as server:
            answers = threading.Thread(target=self._pass_on, args=(server, browser), daemon=True)
            answers.start()
            self._pass_on(browser, server)
            answers.join()

    def _pass_on(self, one, other):
        with suppress(OSError):
            while data := one.recv(65536):
                if data.startswith(b"GET /stream"):
                    self.streams.append(one)
                other.sendall(data)
        self._end(one)
        self._end(other)


@contextmanager
def relayed(port):
    """Relay to a port of this machine until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield Relay(listening, port)
        listening.shutdown(socket.SHUT_RDWR)
