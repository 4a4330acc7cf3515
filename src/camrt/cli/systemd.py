"""What systemd is told by a service of ``Type=notify``: that it works, still works, and ends."""

import os
import socket
import time
from contextlib import suppress


class Notifier:
    """Speaks sd_notify(3) where ``NOTIFY_SOCKET`` names a socket, and does nothing elsewhere."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        # Half of the time after which a silent service is restarted, as sd_watchdog_enabled(3) advises.
        self._every_s = int(os.environ.get("WATCHDOG_USEC", "0")) / 2e6
        self._ready = self._ending = False
        self._told_s = 0.0

    def drawn(self) -> None:
        """Tell that a picture was drawn: the first means that the service is ready, the others that it lives."""
        if not self._ready:
            self._ready = True
            self._send("READY=1")
        now_s = time.monotonic()
        if self._every_s and now_s - self._told_s >= self._every_s:
            self._told_s = now_s
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Tell that the service ends, so that the time its files need is not taken for a hang."""
        if not self._ending:
            self._ending = True
            self._send("STOPPING=1")

    def _send(self, state: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        # Who asked for it may have gone; that is no reason to end.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
            notify.sendto(state.encode(), address)
