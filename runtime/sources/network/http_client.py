"""Ask a camera over HTTP: Basic and Digest authentication, redirects, self-signed certificates.

`urllib.request` reads one challenge of several only and no SHA-256, and a wait for it cannot be ended.
"""

import contextlib
import hashlib
import os
import re
import socket
import ssl
from base64 import b64encode
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

from camrt.errors import SourceError
from camrt.runtime.sources.network.url import ENCODE_HINT, connection_error, split_credentials

_CHUNK: Final = 1 << 16
_MOST_REDIRECTS: Final = 5
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_HASHES: Final = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}


class NoHttp(SourceError):  # noqa: N818 - the name says what it is not
    """The server answered in another protocol."""


class HttpAnswer:
    """An answer with status 200, and its body."""

    def __init__(self, response: HTTPResponse, stream: socket.socket) -> None:
        self.content_type = (response.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
        """Media type in lower case; empty if the server names none."""
        self.length = response.length
        """Bytes of the body, if the server states them."""
        self._response = response
        self._socket = stream

    def read(self, timeout_s: float) -> bytes:
        """Wait for the next bytes of the body, 64 KiB at most; none at the end.

        Raises:
            TimeoutError: none came in time.
            OSError: the connection was lost.
        """
        if timeout_s <= 0:
            raise TimeoutError
        if self._response.isclosed():  # at its end
            return b""
        self._socket.settimeout(timeout_s)
        try:
            return self._response.read1(_CHUNK)
        except (HTTPException, ValueError) as error:  # ValueError: a malformed chunk
            raise ConnectionError("the answer is damaged") from error

    def interrupt(self) -> None:
        """End a read in another thread."""
        with contextlib.suppress(OSError):  # it has ended
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # that of an SSL socket needs its own thread

    def close(self) -> None:
        """End the connection."""
        self._response.close()
        self._socket.close()


class HttpClient:
    """Asks one address again and again, with the credentials that it holds."""

    def __init__(self, url: str) -> None:
        """Take the address; nothing is sent yet."""
        self._url, self._user, self._password = split_credentials(url)
        self._host = urlsplit(self._url).hostname
        self._challenge: dict[str, str] | None = None
        self._uses = 0  # of the challenge's nonce

    def open(self, timeout_s: float) -> HttpAnswer:
        """Send a request, and wait for the head of the answer.

        Args:
            timeout_s: seconds to wait for each connection and answer.

        Raises:
            NoHttp: the answer is not HTTP.
            SourceError: there is no answer, or one without content. The message is half a sentence.
        """
        url, answered, redirects = self._url, False, 0
        while True:
            response, stream = self._request(url, timeout_s)
            if response.status == 200:
                return HttpAnswer(response, stream)
            response.close()
            stream.close()
            target = response.headers.get("Location")
            if response.status == 401 and not answered and self._accept_challenge(url, response):
                answered = True
            elif response.status in _REDIRECTS and target and redirects < _MOST_REDIRECTS:
                url, answered, redirects = _joined(url, target), False, redirects + 1
            else:
                raise SourceError(_refusal(response, url, known_user=self._user is not None))

    def _request(self, url: str, timeout_s: float) -> tuple[HTTPResponse, socket.socket]:
        try:
            parts = urlsplit(url)
            host, port, scheme = parts.hostname or "", parts.port, parts.scheme
        except ValueError as error:
            raise SourceError(f"the address is malformed; {ENCODE_HINT}") from error
        if scheme == "https":
            # Not verified, as in FFmpeg: cameras sign their certificates themselves.
            context = ssl._create_unverified_context()
            connection: HTTPConnection = HTTPSConnection(host, port, timeout=timeout_s, context=context)
        elif scheme == "http":
            connection = HTTPConnection(host, port, timeout=timeout_s)
        else:
            raise SourceError(f"the server redirects to an address of another kind ({scheme}); use that one")
        target = quote(f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}", safe="/%:@!$&'()*+,;=~?[]")
        headers = {"User-Agent": "camrt", "Accept": "*/*", "Connection": "close"}
        if self._challenge is not None and host == self._host:  # never to another host after a redirect
            headers["Authorization"] = self._authorization(self._challenge, target)
        try:
            connection.connect()
            stream = connection.sock
            connection.request("GET", target, headers=headers)
            return connection.getresponse(), stream
        except ssl.SSLError as error:
            connection.close()
            raise SourceError(f"the encryption failed: {error.reason or error}") from error
        except (OSError, UnicodeError) as error:
            connection.close()
            raise SourceError(connection_error(error, connection.port, timeout_s)) from error
        except HTTPException as error:
            connection.close()
            raise NoHttp("the server answered, but not in HTTP") from error

    def _accept_challenge(self, url: str, response: HTTPResponse) -> bool:
        """Choose a way of authentication that the server offers; False: there is none, or no user."""
        if self._user is None or urlsplit(url).hostname != self._host:
            return False
        offered = ", ".join(response.headers.get_all("WWW-Authenticate") or [])
        # Each challenge is a scheme and its parameters; both have commas between them.
        schemes = [*re.finditer(r"(?:^|,)\s*(Basic|Digest)\b(?!\s*=)", offered, re.IGNORECASE)]
        ends = [*(scheme.start() for scheme in schemes[1:]), len(offered)]
        challenges = [
            {"scheme": scheme[1].lower(), **_parameters(offered[scheme.end() : end])}
            for scheme, end in zip(schemes, ends, strict=True)
        ]
        usable = [challenge for challenge in challenges if challenge["scheme"] == "basic" or _hash_of(challenge)]
        self._challenge = next((it for it in usable if it["scheme"] == "digest"), usable[0] if usable else None)
        self._uses = 0
        return self._challenge is not None

    def _authorization(self, challenge: dict[str, str], target: str) -> str:
        """Return the value of the header ``Authorization``; Digest as in RFC 7616, section 3.4."""
        user, password = self._user or "", self._password
        if challenge["scheme"] == "basic":
            return "Basic " + b64encode(f"{user}:{password}".encode()).decode()
        name = _hash_of(challenge)

        def hashed(*texts: str) -> str:
            return hashlib.new(name, ":".join(texts).encode(), usedforsecurity=False).hexdigest()

        realm, nonce = challenge.get("realm", ""), challenge.get("nonce", "")
        self._uses += 1
        count, client_nonce = f"{self._uses:08x}", os.urandom(8).hex()
        secret = hashed(user, realm, password)
        if challenge.get("algorithm", "").lower().endswith("-sess"):
            secret = hashed(secret, nonce, client_nonce)
        request = hashed("GET", target)
        fields = {"username": user, "realm": realm, "nonce": nonce, "uri": target}
        plain = {}
        if "auth" in re.split(r"[\s,]+", challenge.get("qop", "")):
            fields["response"] = hashed(secret, nonce, count, client_nonce, "auth", request)
            fields["cnonce"] = client_nonce
            plain = {"qop": "auth", "nc": count}
        else:
            fields["response"] = hashed(secret, nonce, request)
        fields |= {"opaque": challenge["opaque"]} if "opaque" in challenge else {}
        plain |= {"algorithm": challenge["algorithm"]} if "algorithm" in challenge else {}
        quoted = [f'{key}="{_escaped(value)}"' for key, value in fields.items()]
        return "Digest " + ", ".join([*quoted, *(f"{key}={value}" for key, value in plain.items())])


def _joined(url: str, target: str) -> str:
    try:
        return urljoin(url, target)
    except ValueError as error:
        raise SourceError("the server redirects to a malformed address") from error


def _parameters(text: str) -> dict[str, str]:
    pairs = re.findall(r'([A-Za-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))', text)
    return {key.lower(): re.sub(r"\\(.)", r"\1", quoted) or plain for key, quoted, plain in pairs}


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _hash_of(challenge: dict[str, str]) -> str:
    """Return the name of a challenge's hash in `hashlib`; empty if it is not supported."""
    name = _HASHES.get(challenge.get("algorithm", "MD5").upper().removesuffix("-SESS"), "")
    return name if name in hashlib.algorithms_available else ""


def _refusal(response: HTTPResponse, url: str, *, known_user: bool) -> str:
    status = f"{response.status} {response.reason}".strip()
    if response.status == 401:
        advice = (
            "check the user and the password" if known_user else f"write {urlsplit(url).scheme}://USER:PASSWORD@..."
        )
    elif response.status in (404, 410):
        advice = "check the path"
    elif response.status in _REDIRECTS:
        advice = "it redirects in a circle"
    else:
        advice = "the camera may be busy, or need another path or user"
    return f"the server answered {status}; {advice}"
