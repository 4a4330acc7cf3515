"""Report to systemd, in a service of ``Type=notify``, that camrt is ready, alive or stopping."""

import os
import socket
import time
from contextlib import suppress


class Notifier:
    """Sends sd_notify(3) messages to the socket in ``NOTIFY_SOCKET``; does nothing without it."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        # Half of the watchdog's time-out, as sd_watchdog_enabled(3) advises.
        self._every_s = int(os.environ.get("WATCHDOG_USEC", "0")) / 2e6
        self._ready = self._ending = False
        self._sent_s = 0.0

    def drawn(self) -> None:
        """Report a drawn frame: the first one means that the service is ready, each later one that it is alive."""
        if not self._ready:
            self._ready = True
            self._send("READY=1")
        now_s = time.monotonic()
        if self._every_s and now_s - self._sent_s >= self._every_s:
            self._sent_s = now_s
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Report that the service stops, so that systemd does not take the time to finish files for a hang."""
        if not self._ending:
            self._ending = True
            self._send("STOPPING=1")

    def _send(self, state: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        # The socket may be gone; camrt goes on without it.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
            notify.sendto(state.encode(), address)
