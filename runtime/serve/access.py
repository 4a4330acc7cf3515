"""Who may ask for what: stands before every route."""

import asyncio
import hmac
import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY: Final = 16 * 1024
"""Bytes that a request may carry."""
_BODY_S: Final = 10.0
_SAFE: Final = ("GET", "HEAD")
_OPEN: Final = "/healthz"
"""Asked by what watches over the process; tells nothing of what is seen."""

_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
_ENCODED: Final = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]

_NO_TOKEN: Final = "This view needs its token: open the address that camrt printed when it started.\n"
_ENTER: Final = (
    '<!doctype html><meta http-equiv="refresh" content="0;url={}"><title>camrt</title><a href="{}">Go on</a>\n'
)


class AccessControl:
    """Lets a request through to ``app``, or answers it.

    A page of somebody else must not reach this server by the browser of somebody who may: not by a name that leads here
    (DNS rebinding), so only known names are answered to; not by a request across sites, so ``Origin`` must be our own,
    and ``Sec-Fetch-Site`` too but for a link that is followed.
    """

    def __init__(self, app: App, *, names: frozenset[str], token: str | None, cookie: str, secure: bool) -> None:
        """Stand before an app.

        Args:
            app: answers what is let through.
            names: lower-case host names that this server goes by; addresses in numbers are always its own.
            token: what a viewer must show; None: everybody is let in.
            cookie: name of the cookie that keeps it.
            secure: the cookie is for encrypted connections only.
        """
        self._app = app
        self._names = names
        self._token = token
        self._cookie = cookie
        self._secure = secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *_ENCODED]}
            await send(message)

        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if refusal := self._foreign(scope["method"], headers):
            await _answer(send_guarded, *refusal)
            return
        if self._token is not None and scope["path"] != _OPEN and not self._known(headers):
            await self._let_in(scope, headers, send_guarded)
            return
        if scope["method"] not in _SAFE:
            body = await _body(receive)
            if isinstance(body, tuple):
                await _answer(send_guarded, *body)
                return
            receive = _again(body, receive)
        await self._app(scope, receive, send_guarded)

    def _foreign(self, method: str, headers: dict[str, str]) -> tuple[int, str] | None:
        """Return status and reason where a request comes by another's page or name."""
        host = headers.get("host", "")
        if not self._is_ours(host):
            return (
                421,
                "This server does not go by that name; use its address in numbers, or the name it was started with.\n",
            )
        site = headers.get("sec-fetch-site", "none")  # programs do not send it, nor browsers without encryption
        if site == "same-origin":
            return None  # no script can forge it, while `Origin` differs where a proxy goes by a name of its own
        followed = method in _SAFE and headers.get("sec-fetch-mode") == "navigate"
        origin = headers.get("origin", f"http://{host}").lower()
        if (site != "none" and not followed) or origin not in (f"http://{host.lower()}", f"https://{host.lower()}"):
            return 403, "Requests from pages of other sites are refused.\n"
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name.rstrip(".") in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _known(self, headers: dict[str, str]) -> bool:
        scheme, _, shown = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(shown.strip()):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return False
        return cookie is not None and self._is_token(cookie.value)

    def _is_token(self, shown: str) -> bool:
        assert self._token is not None
        return hmac.compare_digest(shown.encode(), self._token.encode())

    async def _let_in(self, scope: Scope, headers: dict[str, str], send: Send) -> None:
        """Exchange a token in the address for a cookie, and lead on to the address without it; or refuse."""
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        shown = next((value for key, value in query if key == "token"), "")
        if scope["method"] not in _SAFE or not self._is_token(shown):
            await _answer(send, 401, _NO_TOKEN, [(b"www-authenticate", b"Bearer")])
            return
        rest = urlencode([(key, value) for key, value in query if key != "token"])
        # Two slashes at the beginning, or a backslash, would lead to another host.
        target = "/" + quote(scope["path"].lstrip("/")) + (f"?{rest}" if rest else "")
        cookie = f"{self._cookie}={shown}; Path=/; HttpOnly; SameSite=Strict" + ("; Secure" if self._secure else "")
        came = [(b"set-cookie", cookie.encode())]
        if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
            await _answer(send, 303, "", [*came, (b"location", target.encode())])
            return
        # After a link on another site a browser keeps such a cookie back through all redirects, but not for our page.
        safe = target.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
        await _answer(send, 200, _ENTER.format(safe, safe), came, kind="text/html")


async def _body(receive: Receive) -> bytes | tuple[int, str]:
    """Return the body of a request, or status and reason why it is not taken."""
    body = b""
    try:
        async with asyncio.timeout(_BODY_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return 400, "The request ended early.\n"
                more: bytes = message.get("body", b"")
                body += more
                if len(body) > BODY:
                    return 413, f"A request may carry {BODY} bytes.\n"
                if not message.get("more_body", False):
                    return body
    except TimeoutError:
        return 408, "The request came too slowly.\n"


def _again(body: bytes, receive: Receive) -> Receive:
    """Return a ``receive`` that gives the body that was read, and then goes on."""
    given = False

    async def give() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return give


async def _answer(
    send: Send, status: int, text: str, headers: list[tuple[bytes, bytes]] | None = None, *, kind: str = "text/plain"
) -> None:
    body = text.encode()
    usual = [(b"content-type", f"{kind}; charset=utf-8".encode()), (b"content-length", str(len(body)).encode())]
    if status in (400, 408, 413):  # what is left of the request is not read
        usual.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": [*usual, *(headers or [])]})
    await send({"type": "http.response.body", "body": body})
