"""A network that a test can hold: it then delays all data."""

import selectors
import socket
import threading
from contextlib import contextmanager


class Network:
    """Passes bytes between clients of ``port`` and a server. While ``held`` is set, no byte passes."""

    def __init__(self, server_port):
        self.held = threading.Event()
        self._server_port = server_port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._ends = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._ends.set()
        self._listening.close()

    def _accept(self):
        while not self._ends.is_set():
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client):
        with client, socket.create_connection(("127.0.0.1", self._server_port)) as server:
            other = {client: server, server: client}
            with selectors.DefaultSelector() as ready:
                for end in other:
                    ready.register(end, selectors.EVENT_READ)
                while not self._ends.is_set():
                    if self.held.is_set():
                        self._ends.wait(0.02)
                        continue
                    for key, _ in ready.select(0.1):
                        try:
                            data = key.fileobj.recv(1 << 16)
                            other[key.fileobj].sendall(data)
                        except OSError:
                            return
                        if not data:
                            return


@contextmanager
def network(server_port):
    """Put a network in front of a server of the loopback interface."""
    passing = Network(server_port)
    try:
        yield passing
    finally:
        passing.close()
