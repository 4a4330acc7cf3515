"""Rate limit: requests of one client beyond a rate are answered later, so that they leave time for the images."""

import asyncio
import time
from typing import Final

from camrt.runtime.serve.access import App, Receive, Scope, Send, respond

REQUESTS_PER_S: Final = 50.0
"""Requests of one client (IP address) in the long run. The page needs about one a minute: its streams stay open."""
_BURST: Final = 100
"""Requests that may come at once."""
_LONGEST_S: Final = 10.0
"""Longest delay; further requests are refused."""
_CLIENTS: Final = 1000
"""Clients whose requests are counted; beyond this number the ones that may send at once are forgotten."""


class RateLimit:
    """Passes requests on to ``app``, those of a busy client after a delay."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._due_s: dict[str, float] = {}  # for each client the time at which a burst would be possible again

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] == "http":
            delay_s = self._delay_s((scope.get("client") or ("",))[0], time.monotonic())
            if delay_s > _LONGEST_S:
                await respond(send, 429, "Too many requests.\n", [(b"retry-after", b"10")])
                return
            if delay_s > 0.0:
                await asyncio.sleep(delay_s)
        await self._app(scope, receive, send)

    def _delay_s(self, client: str, now_s: float) -> float:
        """Count a request and return the seconds that it has to wait."""
        if len(self._due_s) >= _CLIENTS:
            self._due_s = {client: due_s for client, due_s in self._due_s.items() if due_s > now_s}
        due_s = max(now_s, self._due_s.get(client, 0.0)) + 1.0 / REQUESTS_PER_S
        delay_s = due_s - now_s - _BURST / REQUESTS_PER_S
        if delay_s <= _LONGEST_S:
            self._due_s[client] = due_s
        return delay_s
