"""Access-control middleware: checks Host, Origin and token before every route."""

import asyncio
import hmac
import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY: Final = 16 * 1024
"""Largest body of a request, in bytes."""
_BODY_S: Final = 10.0
"""Longest time for the body of a request."""
_SAFE: Final = ("GET", "HEAD")
"""Methods that change nothing."""
_LOGIN: Final = "/login"
"""Path to which the form sends the token."""
_PUBLIC: Final = "/healthz"
"""Path that needs no token: process managers read it. Its response names no source and no class."""

_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
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

_NO_TOKEN: Final = "A token is missing. Open the address that camrt printed when it started.\n"
_FORM: Final = (
    '<!doctype html><html lang="en"><meta name="viewport" content="width=device-width"><title>camrt</title>'
    '<form method="post" action="/login"><p>{}</p><p><label>Token that camrt printed when it started '
    '<input name="token" type="password" autocomplete="current-password" required autofocus></label> '
    "<button>Open</button></p></form>\n"
)
_REDIRECT: Final = (
    '<!doctype html><meta http-equiv="refresh" content="0;url={}"><title>camrt</title><a href="{}">Continue</a>\n'
)


class AccessControl:
    """Passes a request on to ``app``, or refuses it.

    A page of another site must not use the browser of an authorised viewer to reach this server. So three headers are
    checked. ``Host`` must be a known name, against DNS rebinding. ``Origin`` must be this server. ``Sec-Fetch-Site``
    must be this site, except for a link that the user follows.
    """

    def __init__(self, app: App, *, names: frozenset[str], token: str | None, cookie: str, secure: bool) -> None:
        """Wrap an application.

        Args:
            app: handles the requests that pass.
            names: lower-case host names of this server; IP addresses are always accepted.
            token: secret that each request must hold; None: no token is needed.
            cookie: name of the cookie that holds the token.
            secure: restrict the cookie to encrypted connections.
        """
        self._app = app
        self._names = names
        self._token = token
        self._cookie = cookie
        self._secure = secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *_ENCODED]}
            await send(message)

        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if refusal := self._check_site(scope["method"], headers):
            await respond(send_with_headers, *refusal)
            return
        if self._token is not None and scope["path"] != _PUBLIC:
            if scope["path"] == _LOGIN and scope["method"] == "POST":
                await self._log_in(receive, send_with_headers)
                return
            query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            has_token = self._has_token(headers)
            # Also with the cookie, so that the token never stays in the address bar.
            if not has_token or (scope["method"] in _SAFE and any(key == "token" for key, _ in query)):
                await self._exchange_token(scope, query, headers, send_with_headers, has_token=has_token)
                return
        if scope["method"] not in _SAFE:
            body = await _read_body(receive)
            if isinstance(body, tuple):
                await respond(send_with_headers, *body)
                return
            receive = _replay(body, receive)
        await self._app(scope, receive, send_with_headers)

    def _check_site(self, method: str, headers: dict[str, str]) -> tuple[int, str] | None:
        """Return status and reason if a request uses an unknown host name or comes from a page of another site."""
        host = headers.get("host", "")
        if not self._is_own_host(host):
            return 421, "This host name is unknown here. Use an IP address, or the name that camrt was started with.\n"
        site = headers.get("sec-fetch-site", "none")  # programs do not send it, nor browsers without encryption
        if site == "same-origin":
            return None  # scripts cannot forge it; behind a proxy with another name `Origin` would differ
        is_link = method in _SAFE and headers.get("sec-fetch-mode") == "navigate"
        origin = headers.get("origin", f"http://{host}").lower()
        if (site != "none" and not is_link) or origin not in (f"http://{host.lower()}", f"https://{host.lower()}"):
            return 403, "Requests from pages of other sites are refused.\n"
        return None

    def _is_own_host(self, host: str) -> bool:
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

    def _has_token(self, headers: dict[str, str]) -> bool:
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(credentials.strip()):
            return True
        # Other programs on this host set cookies, too, of any form. `http.cookies` drops all if one is malformed.
        pairs = (pair.partition("=") for pair in headers.get("cookie", "").split(";"))
        return any(name.strip() == self._cookie and self._is_token(value.strip()) for name, _, value in pairs)

    def _is_token(self, text: str) -> bool:
        assert self._token is not None
        return hmac.compare_digest(text.encode(), self._token.encode())

    async def _log_in(self, receive: Receive, send: Send) -> None:
        """Take the token from the form and redirect to the page with a cookie; refuse a wrong token."""
        body = await _read_body(receive)
        if isinstance(body, tuple):
            await respond(send, *body)
            return
        fields = dict(parse_qsl(body.decode("latin-1")))
        token = fields.get("token", "").strip()
        if self._is_token(token):
            await respond(send, 303, "", [self._set_cookie(token), (b"location", b"/")])
        else:
            await respond(send, 401, _FORM.format("This is another token."), kind="text/html")

    def _set_cookie(self, token: str) -> tuple[bytes, bytes]:
        cookie = f"{self._cookie}={token}; Path=/; HttpOnly; SameSite=Strict" + ("; Secure" if self._secure else "")
        return b"set-cookie", cookie.encode()

    async def _exchange_token(
        self, scope: Scope, query: list[tuple[str, str]], headers: dict[str, str], send: Send, *, has_token: bool
    ) -> None:
        """Replace a token in the address by a cookie and redirect to the address without it.

        A wrong token is refused, unless the request has the right one in another place (``has_token``).
        """
        token = next((value for key, value in query if key == "token"), "")
        if not (has_token or (scope["method"] in _SAFE and self._is_token(token))):
            if "text/html" in headers.get("accept", ""):
                await respond(send, 401, _FORM.format(""), kind="text/html")
            else:
                await respond(send, 401, _NO_TOKEN, [(b"www-authenticate", b"Bearer")])
            return
        rest = urlencode([(key, value) for key, value in query if key != "token"])
        # Two slashes at the beginning, or a backslash, would redirect to another host.
        target = "/" + quote(scope["path"].lstrip("/")) + (f"?{rest}" if rest else "")
        set_cookie = [self._set_cookie(token)] if self._is_token(token) else []
        if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
            await respond(send, 303, "", [*set_cookie, (b"location", target.encode())])
            return
        # After a link on another site, a browser withholds a strict cookie from all redirects. It sends the cookie with
        # a request that a page of this site makes.
        safe = target.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
        await respond(send, 200, _REDIRECT.format(safe, safe), set_cookie, kind="text/html")


async def _read_body(receive: Receive) -> bytes | tuple[int, str]:
    """Return the body of a request, or status and reason if it is refused."""
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
                    return 413, f"The body is larger than {BODY} bytes.\n"
                if not message.get("more_body", False):
                    return body
    except TimeoutError:
        return 408, "The request came too slowly.\n"


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a ``receive`` that first returns ``body``, which was read already, and then calls ``receive``."""
    replayed = False

    async def receive_body() -> Message:
        nonlocal replayed
        if replayed:
            return await receive()
        replayed = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_body


async def respond(
    send: Send, status: int, text: str, headers: list[tuple[bytes, bytes]] | None = None, *, kind: str = "text/plain"
) -> None:
    """Send a whole response with a text; after some errors the connection is closed."""
    body = text.encode()
    basic = [(b"content-type", f"{kind}; charset=utf-8".encode()), (b"content-length", str(len(body)).encode())]
    if status in (400, 408, 413, 429):  # the rest of the request is not read
        basic.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": [*basic, *(headers or [])]})
    await send({"type": "http.response.body", "body": body})
