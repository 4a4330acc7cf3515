"""HTTP server: Uvicorn in a thread of its own."""

import ipaddress
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvicorn

from camrt.errors import SinkError, UsageError
from camrt.runtime.serve.access import AccessControl
from camrt.runtime.serve.app import make_app
from camrt.runtime.serve.publisher import Publisher
from camrt.runtime.serve.rate_limit import RateLimit
from camrt.runtime.serve.timeouts import Connection
from camrt.runtime.stream.hub import Hub

LOOPBACK: Final = "127.0.0.1"
_HEAD: Final = 16 * 1024
"""Largest head of a request, in bytes."""
_SERVED: Final = 128
"""Most connections at once; requests on further ones get status 503."""
_ACCEPTED: Final = 160
"""Connections beyond this number are closed at once. Each takes a file descriptor, and the recorder needs some too."""
_SEND_BUFFER: Final = 128 * 1024
"""Bytes of the send buffer of a connection. With a larger one, a slow viewer would see images that are seconds old."""
_KEEP_ALIVE: Final = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 60_000}
"""A vanished viewer is noticed after a minute: by a probe, or by data that it does not acknowledge."""
_GRACE_S: Final = 1.0
"""Time that open connections get to end by themselves."""


@dataclass(frozen=True, slots=True)
class Address:
    """Address to listen on."""

    host: str
    port: int
    """0: a free port."""

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Parse ``[HOST:]PORT``; without HOST the address is the loopback interface. Raises: UsageError."""
        host, _, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not (port.isascii() and port.isdecimal() and int(port) < 65536) or (":" in text and not host):
            raise UsageError(f"--serve {text}: write PORT or HOST:PORT, as in 8080 or 0.0.0.0:8080")
        return cls(host or LOOPBACK, int(port))


class Server:
    """Serves a hub until it is stopped.

    Args:
        hub: gives items and settings.
        address: address to listen on. Requests need a token unless it is the loopback interface.
        tell: takes a line when an image cannot be shown.
        open_to_all: never require a token.
        certfile: certificate, PEM; None: no encryption.
        keyfile: key of the certificate, PEM; None: the key is in ``certfile``.
    """

    def __init__(
        self,
        hub: Hub,
        address: Address,
        *,
        tell: Callable[[str], None] = lambda line: None,
        open_to_all: bool = False,
        certfile: Path | None = None,
        keyfile: Path | None = None,
    ) -> None:
        """Start to listen.

        Raises:
            UsageError: the host is unknown, or the certificate cannot be used.
            SinkError: the address cannot be used, for example because the port is in use.
        """
        context = None if certfile is None else _context(certfile, keyfile)
        self._socket = _listen(address)
        bound = self._socket.getsockname()
        self.loopback = ipaddress.ip_address(bound[0]).is_loopback
        self.token = None if self.loopback or open_to_all else secrets.token_urlsafe(24)
        """Secret that each request must hold; None: no token is needed."""
        hostname = socket.gethostname().lower()
        everywhere = ipaddress.ip_address(bound[0]).is_unspecified
        host = hostname if everywhere else f"[{address.host}]" if ":" in address.host else address.host
        path = "/" if self.token is None else f"/?token={self.token}"
        self.url = f"http{'s' if context else ''}://{host}:{bound[1]}{path}"
        """Address for a browser, with the token."""
        self._publisher = Publisher(hub, tell)
        app = AccessControl(
            make_app(hub, self._publisher),
            names=frozenset({"localhost", address.host.lower(), hostname, f"{hostname}.local"}),
            token=self.token,
            cookie=f"camrt-{bound[1]}",  # a browser shares cookies between all ports of a host
            secure=context is not None,
        )
        self._uvicorn = uvicorn.Server(_config(RateLimit(app), context))
        self._thread = threading.Thread(target=self._run, name="camrt-serve", daemon=True)
        self._thread.start()
        while not self._uvicorn.started and self._thread.is_alive():
            time.sleep(0.005)

    @property
    def alive(self) -> bool:
        """False: a thread of the view has ended by itself, so viewers get nothing."""
        return self._thread.is_alive() and self._publisher.alive

    def stop(self) -> None:
        """Disconnect all viewers and end the server; harmless when called twice."""
        self._publisher.close()
        self._uvicorn.should_exit = True
        self._thread.join(_GRACE_S)
        if self._thread.is_alive():  # a client does not read, or its request has no end
            for connection in list(self._uvicorn.server_state.connections):
                transport: Any = connection.transport
                connection.loop.call_soon_threadsafe(transport.abort)
            self._socket.abort()
            self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        self._uvicorn.run(sockets=[self._socket])


class _Listener(socket.socket):
    """Accepts a limited number of connections at once.

    The limit is applied here, because asyncio accepts all waiting connections before it creates their protocols. With
    TLS it creates a protocol only after the handshake, which may take a minute.
    """

    def __init__(self, family: int, kind: int, protocol: int) -> None:
        super().__init__(family, kind, protocol)
        self._accepted: list[socket.socket] = []

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection. Raises: ConnectionAbortedError: the limit is reached; asyncio waits for the next."""
        connection, address = super().accept()
        self._accepted = [accepted for accepted in self._accepted if accepted.fileno() >= 0]  # the others are closed
        if len(self._accepted) >= _ACCEPTED:
            connection.close()
            raise ConnectionAbortedError
        self._accepted.append(connection)
        return connection, address

    def abort(self) -> None:
        """End all connections, also those in a TLS handshake, which the server does not know yet."""
        for connection in self._accepted:
            with suppress(OSError):  # it is closed
                connection.shutdown(socket.SHUT_RDWR)


def _config(app: Any, context: ssl.SSLContext | None) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        loop="asyncio",  # uvloop would bypass `_Listener.accept`
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,  # addresses may hold a token
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_SERVED,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=30,  # `stop` ends it earlier
        h11_max_incomplete_event_size=_HEAD,
    )
    config.load()
    config.ssl = context
    return config


def _listen(address: Address) -> _Listener:
    try:
        family, kind, protocol, _, socket_address = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise UsageError(f"--serve {address.host}:{address.port}: unknown host: {error}") from error
    listener = _Listener(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Each connection inherits these.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEP_ALIVE.items():
            if hasattr(socket, option):  # TCP_USER_TIMEOUT exists on Linux only
                listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        listener.bind(socket_address)
        listener.listen()
    except OSError as error:
        listener.close()
        raise SinkError(
            f"--serve {address.host}:{address.port}: cannot listen there: {error.strerror}. Choose another address or "
            "port; port 0 is any free one"
        ) from error
    return listener


def _context(certfile: Path, keyfile: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # With an empty password a locked key is an error; without one OpenSSL would prompt on the terminal.
        context.load_cert_chain(certfile, keyfile, password="")
    except FileNotFoundError as error:
        missing = next(path for path in (certfile, keyfile) if path is not None and not path.is_file())
        raise UsageError(f"no file {missing} (--certfile, --keyfile)") from error
    except (OSError, ValueError) as error:
        files = " and ".join(str(path) for path in (certfile, keyfile) if path is not None)
        raise UsageError(
            f"{files}: not a certificate with its key in PEM, without a password: {error}. Make one: openssl req -x509 "
            "-newkey rsa:2048 -nodes -days 365 -subj /CN=camrt -keyout key.pem -out cert.pem"
        ) from error
    return context
