"""Responses without an end: images and events for as long as a viewer stays."""

import asyncio
from typing import Final

from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from camrt.runtime.serve.broadcast import Broadcast, Subscriber
from camrt.runtime.serve.publisher import NEXT_PART

_IDLE_S: Final = 5.0
"""Seconds without a message after which a comment is sent, so that a broken connection is noticed."""


class LiveResponse(Response):
    """Sends the messages of a broadcast; a slow viewer skips messages."""

    def __init__(self, broadcast: Broadcast, *, media_type: str, opening: bytes, idle: bytes) -> None:
        super().__init__(media_type=media_type)
        self._broadcast = broadcast
        self._opening = opening
        self._idle = idle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the viewer leaves or the broadcast is closed."""
        if self._broadcast.subscribers >= self._broadcast.capacity:
            retry_later = {"Retry-After": "10", "Connection": "close"}  # a waiting viewer would occupy a connection
            text = f"{self._broadcast.capacity} viewers are connected already.\n"
            await PlainTextResponse(text, 503, retry_later)(scope, receive, send)
            return
        headers = [(b"content-type", str(self.media_type).encode())]
        with self._broadcast.subscribe() as subscriber:
            disconnect = asyncio.ensure_future(_wait_for_disconnect(receive))
            disconnect.add_done_callback(lambda _: subscriber.put(None))
            try:
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body", "body": self._opening, "more_body": True})
                await self._send_messages(subscriber, disconnect, send)
            finally:
                disconnect.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_messages(self, subscriber: Subscriber, disconnect: "asyncio.Future[None]", send: Send) -> None:
        while not (disconnect.done() or self._broadcast.closed):
            # Wait until the last message is sent: a message taken earlier would be out of date by then.
            await send({"type": "http.response.body", "body": b"", "more_body": True})
            message = await subscriber.take(_IDLE_S)
            if message or self._idle:
                await send({"type": "http.response.body", "body": message or self._idle, "more_body": True})


def images(broadcast: Broadcast) -> LiveResponse:
    """Return a stream of JPEG images, as an ``<img>`` element shows it."""
    media_type = "multipart/x-mixed-replace; boundary=frame"
    return LiveResponse(broadcast, media_type=media_type, opening=NEXT_PART, idle=b"")


def events(broadcast: Broadcast) -> LiveResponse:
    """Return a stream of server-sent events."""
    return LiveResponse(broadcast, media_type="text/event-stream", opening=b"retry: 2000\n\n", idle=b": \n\n")


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
