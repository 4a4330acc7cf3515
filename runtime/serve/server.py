"""The server: Uvicorn in a thread of its own."""

import ipaddress
import secrets
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvicorn

from camrt.errors import SinkError, UsageError
from camrt.runtime.serve.access import AccessControl
from camrt.runtime.serve.app import make_app
from camrt.runtime.serve.publisher import Publisher
from camrt.runtime.serve.timeouts import Connection
from camrt.runtime.stream.hub import Hub

LOOPBACK: Final = "127.0.0.1"
_HEAD: Final = 16 * 1024
"""Bytes that the head of a request may have."""
_ANSWERED: Final = 128
"""Connections at a time; what is asked beyond them is answered with 503."""
_ACCEPTED: Final = 160
"""Connections at a time; one more is closed at once. Each costs a file descriptor, which the recorder needs too."""
# What a slow viewer has not got yet waits here; with more of it, it would see what was seconds ago.
_SEND_BUFFER: Final = 128 * 1024
_KEEP_ALIVE: Final = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 60_000}
"""A viewer that vanished is noticed after a minute: by probes, or by what it does not acknowledge."""
_GRACE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where to serve."""

    host: str
    port: int
    """0: one that is free."""

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Return what ``[HOST:]PORT`` says; without a host it is this machine alone. Raises: UsageError."""
        host, _, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not (port.isascii() and port.isdecimal() and int(port) < 65536) or (":" in text and not host):
            raise UsageError(f"--serve {text}: write PORT or HOST:PORT, as in 8080 or 0.0.0.0:8080")
        return cls(host or LOOPBACK, int(port))


class Server:
    """Serves a hub until it is stopped.

    Args:
        hub: what is served.
        address: where; all but the loopback interface is for those who know the token.
        open_to_all: ask nobody for a token.
        certfile: certificate, PEM; None: unencrypted.
        keyfile: its key, PEM; None: it is in ``certfile``.
    """

    def __init__(
        self,
        hub: Hub,
        address: Address,
        *,
        open_to_all: bool = False,
        certfile: Path | None = None,
        keyfile: Path | None = None,
    ) -> None:
        """Begin to listen.

        Raises:
            UsageError: there is no such address here, or the certificate is none.
            SinkError: the port is in use, or not to be had.
        """
        context = None if certfile is None else _context(certfile, keyfile)
        self._socket = _listen(address)
        bound = self._socket.getsockname()
        self.loopback = ipaddress.ip_address(bound[0]).is_loopback
        self.token = None if self.loopback or open_to_all else secrets.token_urlsafe(24)
        """What a viewer must know; None: nothing."""
        hostname = socket.gethostname().lower()
        everywhere = ipaddress.ip_address(bound[0]).is_unspecified
        host = hostname if everywhere else f"[{address.host}]" if ":" in address.host else address.host
        path = "/" if self.token is None else f"/?token={self.token}"
        self.url = f"http{'s' if context else ''}://{host}:{bound[1]}{path}"
        """What to open in a browser, with the token."""
        self._publisher = Publisher(hub)
        guarded = AccessControl(
            make_app(hub, self._publisher),
            names=frozenset({"localhost", address.host.lower(), hostname, f"{hostname}.local"}),
            token=self.token,
            cookie=f"camrt-{bound[1]}",  # the cookies of a host are for all its ports
            secure=context is not None,
        )
        self._uvicorn = uvicorn.Server(_config(guarded, context))
        self._thread = threading.Thread(target=self._run, name="camrt-serve", daemon=True)
        self._thread.start()
        while not self._uvicorn.started and self._thread.is_alive():
            time.sleep(0.005)

    def stop(self) -> None:
        """Let all viewers go and end the server; harmless when called twice."""
        self._publisher.close()
        self._uvicorn.should_exit = True
        self._thread.join(_GRACE_S)
        if self._thread.is_alive():  # somebody does not take what was sent, or asks for no end
            for connection in list(self._uvicorn.server_state.connections):
                transport: Any = connection.transport
                connection.loop.call_soon_threadsafe(transport.abort)
            self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        self._uvicorn.run(sockets=[self._socket])


class _Listener(socket.socket):
    """Accepts no more than a number of connections at a time.

    Only here all are known: asyncio accepts all that wait before it tells a protocol of one, and with TLS it tells of
    one only after the handshake, for which it gives a minute.
    """

    def __init__(self, family: int, kind: int, protocol: int) -> None:
        super().__init__(family, kind, protocol)
        self._accepted: list[socket.socket] = []

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection. Raises: ConnectionAbortedError: there are enough; asyncio then waits for the next."""
        connection, address = super().accept()
        self._accepted = [one for one in self._accepted if one.fileno() >= 0]  # the others are closed
        if len(self._accepted) >= _ACCEPTED:
            connection.close()
            raise ConnectionAbortedError
        self._accepted.append(connection)
        return connection, address


def _config(app: Any, context: ssl.SSLContext | None) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        loop="asyncio",  # uvloop, if it is there, would not ask `_Listener`
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,  # addresses may hold a token
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_ANSWERED,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=30,  # `stop` is quicker
        h11_max_incomplete_event_size=_HEAD,
    )
    config.load()
    config.ssl = context
    return config


def _listen(address: Address) -> socket.socket:
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise UsageError(f"--serve {address.host}:{address.port}: no such host: {error}") from error
    listener = _Listener(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Each connection inherits these.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEP_ALIVE.items():
            if hasattr(socket, option):  # TCP_USER_TIMEOUT is Linux's
                listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        listener.bind(where)
        listener.listen()
    except OSError as error:
        listener.close()
        raise SinkError(
            f"--serve {address.host}:{address.port} cannot be had: {error.strerror}; choose another port, or 0 for one "
            "that is free"
        ) from error
    return listener


def _context(certfile: Path, keyfile: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # A password that is wrong is refused; without one OpenSSL would ask for it on the terminal.
        context.load_cert_chain(certfile, keyfile, password="")
    except FileNotFoundError as error:
        missing = next(path for path in (certfile, keyfile) if path is not None and not path.is_file())
        raise UsageError(f"no file {missing}, which --certfile or --keyfile names") from error
    except (OSError, ValueError) as error:
        files = " and ".join(str(path) for path in (certfile, keyfile) if path is not None)
        raise UsageError(
            f"{files}: no certificate with its key, without a password, in PEM: {error}. Make one: openssl req -x509 "
            "-newkey rsa:2048 -nodes -days 365 -subj /CN=camrt -keyout key.pem -out cert.pem"
        ) from error
    return context
