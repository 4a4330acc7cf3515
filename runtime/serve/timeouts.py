"""HTTP connection with time-outs. Uvicorn alone waits without end for a request and for a client that does not read."""

import asyncio
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_S: Final = 15.0
"""Longest time for the head of a request, from the connection or the last response on."""
SEND_S: Final = 10.0
"""Longest time that sent data may wait until the client reads it."""


class Connection(H11Protocol):
    """Uvicorn's HTTP/1.1 with two time-outs. Both cut the connection and discard unsent data."""

    _request_timer: asyncio.TimerHandle | None = None
    _send_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start to wait for a request."""
        super().connection_made(transport)
        self._update_request_timer()

    def data_received(self, data: bytes) -> None:
        """Take data, which may complete a request."""
        super().data_received(data)
        self._update_request_timer()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._update_request_timer()

    def send_400_response(self, msg: str) -> None:
        """Send status 400, unless the response to this request has begun: Uvicorn would send a second one."""
        if self.cycle is not None:
            self.cycle.disconnected = True  # nor may the response that is being made follow this one
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop both timers."""
        for timer in (self._request_timer, self._send_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Start to wait until the client reads."""
        super().pause_writing()
        self._send_timer = self.loop.call_later(SEND_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Continue to write."""
        if self._send_timer is not None:
            self._send_timer.cancel()
        super().resume_writing()

    def _update_request_timer(self) -> None:
        """Run the timer while no request is answered. Data that trickles in does not restart it."""
        if self.cycle is not None and not self.cycle.response_complete:
            if self._request_timer is not None:
                self._request_timer.cancel()
                self._request_timer = None
        elif self._request_timer is None:
            self._request_timer = self.loop.call_later(REQUEST_S, self.transport.abort)
