"""A connection that ends when the other side is too slow: Uvicorn waits for ever for a request and for its answer."""

import asyncio
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_S: Final = 15.0
"""How long the head of a request may take, from the connection or the last answer on."""
SEND_S: Final = 10.0
"""How long what was written may wait until the other side takes it."""


class Connection(H11Protocol):
    """Uvicorn's HTTP/1.1 with two time-outs. Both cut the connection: what is left to send is for nobody."""

    _asked: asyncio.TimerHandle | None = None
    _sent: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        """Take what came; it may have made a request complete."""
        super().data_received(data)
        self._expect()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._expect()

    def send_400_response(self, msg: str) -> None:
        """Say that this is not HTTP, if nothing else was said; Uvicorn answers what it has answered already."""
        if self.cycle is not None:
            self.cycle.disconnected = True  # nor may the answer that is being made follow this one
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        for timer in (self._asked, self._sent):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait for the other side to take what was written."""
        super().pause_writing()
        self._sent = self.loop.call_later(SEND_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Write on."""
        if self._sent is not None:
            self._sent.cancel()
        super().resume_writing()

    def _expect(self) -> None:
        """Keep the clock running while no request is being answered; bytes that trickle in do not turn it back."""
        if self.cycle is not None and not self.cycle.response_complete:
            if self._asked is not None:
                self._asked.cancel()
                self._asked = None
        elif self._asked is None:
            self._asked = self.loop.call_later(REQUEST_S, self.transport.abort)
