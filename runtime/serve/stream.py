"""A response that goes on for as long as somebody watches."""

import asyncio
from typing import Final

from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from camrt.runtime.serve.broadcast import Channel, Viewer
from camrt.runtime.serve.publisher import NEXT_PART

_IDLE_S: Final = 5.0
"""After so long without news something is said, so that a connection that broke is noticed."""


class LiveResponse(Response):
    """Sends the messages of a channel; to a viewer that is slow only those that it has time for."""

    def __init__(self, channel: Channel, *, media_type: str, opening: bytes, idle: bytes) -> None:
        super().__init__(media_type=media_type)
        self._channel = channel
        self._opening = opening
        self._idle = idle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the viewer has gone or the channel is closed."""
        if self._channel.watched >= self._channel.most:
            refused = {"Retry-After": "10", "Connection": "close"}  # nor may waiting take a connection from others
            full = PlainTextResponse(f"{self._channel.most} are watching already.\n", 503, refused)
            await full(scope, receive, send)
            return
        headers = [(b"content-type", str(self.media_type).encode())]
        with self._channel.watch() as viewer:
            gone = asyncio.ensure_future(_gone(receive))
            gone.add_done_callback(lambda _: viewer.give(None))
            try:
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body", "body": self._opening, "more_body": True})
                await self._send_news(viewer, gone, send)
            finally:
                gone.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_news(self, viewer: Viewer, gone: "asyncio.Future[None]", send: Send) -> None:
        while not (gone.done() or self._channel.closed):
            # Waits until the last message is out: only then is it known which is the newest.
            await send({"type": "http.response.body", "body": b"", "more_body": True})
            message = await viewer.take(_IDLE_S)
            if message or self._idle:
                await send({"type": "http.response.body", "body": message or self._idle, "more_body": True})


def pictures(channel: Channel) -> LiveResponse:
    """Return a stream of JPEG pictures, as an ``<img>`` shows it."""
    kind = "multipart/x-mixed-replace; boundary=frame"
    return LiveResponse(channel, media_type=kind, opening=NEXT_PART, idle=b"")


def events(channel: Channel) -> LiveResponse:
    """Return a stream of server-sent events."""
    return LiveResponse(channel, media_type="text/event-stream", opening=b"retry: 2000\n\n", idle=b": \n\n")


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
