"""Network addresses: their credentials, and the reason why an address gives no video."""

import hashlib
import re
import socket
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from camrt.errors import UsageError

SCHEMES: Final = {
    "rtsp": 554,
    "rtsps": 322,
    "rtmp": 1935,
    "rtmps": 443,
    "http": 80,
    "https": 443,
    "tcp": None,
    "udp": None,
    "rtp": None,
    "srt": None,
}
"""Schemes of network streams, each with its default port; None: the address must have one."""
_CONNECTIONLESS = ("udp", "rtp", "srt")

_SECRETS = re.compile(
    r"([\w%.-]*(?:user|usr|uid|login|log|account|pass|pas|pwd|psw|pw|token|auth|jwt|bearer|key|secret|sig|sid|session|"
    r"streamid|credential|cookie|code|ticket)[\w%.-]*)=[^&/;#\s'\"]*",
    re.IGNORECASE,
)
_USERS = re.compile(r"[^\s'\"/@:]+:[^\s'\"@]*@")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\[\]@:/?#]+)(:[0-9]*)?")
_SHOWN_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[^\[\]@:/?#\s'\"(),;]+)(?::[0-9]+)?")
_PATH_IN_TEXT = re.compile(r"(?:[/?#]|:(?=\w))[^\s'\"]*?(?=[.,:;)]*(?:[\s'\"]|$))")
_HASH = re.compile(r"/#[0-9a-f]{4}")
ENCODE_HINT = "percent-encode @ / ? # : and % in the password, for example %40 for @"


def redact(url: str) -> str:
    """Return scheme and host of an address, and a hash of path and parameters: ``rtsp://cam:554/#1f2e``.

    Any part of an address may be a secret: user, password, parameters under any name, a path that is a stream key.
    The hash tells two streams of one host apart. An address that is redacted already stays as it is.

    A password with ``@``, ``/`` or ``?`` should be percent-encoded. If it is not, the host begins behind the last
    ``@``.
    """
    scheme, _, rest = url.partition("://")
    rest = _without_credentials(rest)
    host = _SHOWN_HOST.match(rest)
    end = host.end() if host else 0
    return f"{scheme}://{rest[:end]}{_hashed(rest[end:])}"


def redact_text(text: str) -> str:
    """Return a text whose addresses are redacted, for messages that quote a user's word or a library.

    An address with one slash, or without its scheme (``user:password@host/path``), counts too.
    """
    start, *addresses = re.split(r"([A-Za-z][A-Za-z0-9+.-]+):/{1,2}", text)
    parts = [_without_secrets(start)]
    for scheme, address in zip(addresses[::2], addresses[1::2], strict=True):
        rest = _without_credentials(address)
        host = _SHOWN_HOST.match(rest)
        end = host.end() if host else 0
        path = _PATH_IN_TEXT.match(rest, end)
        after = path.end() if path else end
        parts.append(f"{scheme}://{rest[:end]}{_hashed(rest[end:after])}{_without_secrets(rest[after:])}")
    return "".join(parts)


def _without_credentials(rest: str) -> str:
    """Return what follows the scheme, without user and password."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    return rest.rpartition("@")[2] if ":" in authority or "@" in authority else rest


def _hashed(path: str) -> str:
    if not path.strip("/") or _HASH.fullmatch(path):
        return path
    return f"/#{hashlib.sha256(path.encode('utf-8', 'surrogateescape')).hexdigest()[:4]}"


def _without_secrets(text: str) -> str:
    return _USERS.sub("***@", _SECRETS.sub(r"\1=***", text))


def encode_credentials(url: str) -> str:
    """Return an address whose user and password are percent-encoded, as decoders need them.

    A password with ``@``, ``/``, ``?``, ``#``, ``:`` or ``%`` may be encoded already. If the address is valid as it is,
    it keeps its meaning. Otherwise the host begins behind the first ``@`` that is followed by a host.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or "@" not in rest:
        return url
    end = _end_of_credentials(rest)
    if end is None:
        return url
    user, colon, password = rest[:end].partition(":")
    return f"{scheme}://{_encoded(user)}{colon}{_encoded(password)}{rest[end:]}"


def _end_of_credentials(rest: str) -> int | None:
    """Return the position of the ``@`` before the host; None: the address has no credentials."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if _HOST.fullmatch(authority):
        return None
    if _HOST.fullmatch(authority.rpartition("@")[2]):
        return authority.rindex("@") if "@" in authority else None
    for match in re.finditer("@", rest):
        if _HOST.fullmatch(re.split(r"[/?#]", rest[match.end() :], maxsplit=1)[0]):
            return match.start()
    return None


def _encoded(text: str) -> str:
    kept = re.split(r"(%[0-9A-Fa-f]{2})", text)
    return "".join(part if number % 2 else quote(part, safe="!$&'()*+,;=") for number, part in enumerate(kept))


def split_credentials(url: str) -> tuple[str, str | None, str]:
    """Return an address without credentials, the user (None: there is none) and the password, both decoded."""
    scheme, _, rest = encode_credentials(url).partition("://")
    end = _end_of_credentials(rest)
    if end is None:
        return url, None, ""
    user, _, password = rest[:end].partition(":")
    return f"{scheme}://{rest[end + 1 :]}", unquote(user), unquote(password)


def listens(url: str) -> bool:
    """Return whether an address waits for a sender (``?listen``), as FFmpeg's TCP and RTMP do."""
    return re.search(r"[?&]listen\b(?!=0)", url) is not None


def check_port(url: str) -> None:
    """Check that an address has a port where its scheme has no usual one. Raises: UsageError."""
    scheme, _, rest = url.partition("://")
    host = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]
    if SCHEMES[scheme.lower()] is None and not re.search(r":[0-9]+$", host):
        raise UsageError(f"{redact(url)} has no port; write {scheme.lower()}://HOST:PORT")


def diagnose(url: str, timeout_s: float = 2.0) -> str:
    """Return the reason why an address could not be opened; OpenCV does not report it.

    Args:
        url: the address.
        timeout_s: seconds to wait for a connection.

    Returns: half a sentence, lower case.
    """
    try:
        parts = urlsplit(encode_credentials(url))
        scheme, host, port = parts.scheme.lower(), parts.hostname or "", parts.port
    except ValueError:
        return f"the address is malformed; {ENCODE_HINT}"
    port = port or SCHEMES[scheme]
    if scheme in _CONNECTIONLESS or port is None or listens(url):
        advice = {"rtp": "send MPEG-TS, or use rtsp://", "srt": "few decoders have SRT; use udp:// or rtsp://"}
        return f"nothing that can be decoded arrived; {advice.get(scheme, 'check the port and the sender')}"
    try:
        socket.create_connection((host, port), timeout=timeout_s).close()
    except (OSError, UnicodeError) as error:
        reason = connection_error(error, port, timeout_s)
        return f"{reason}; {ENCODE_HINT}" if url.count("@") > 1 or "@" in parts.path + parts.query else reason
    return "the server answered, but gave no video; check the path, the user and the password"


def connection_error(error: Exception, port: int, timeout_s: float) -> str:
    """Return the reason why a connection failed: half a sentence, lower case."""
    if isinstance(error, TimeoutError):
        return f"port {port} did not answer within {timeout_s:g} s"
    if isinstance(error, socket.gaierror | UnicodeError):  # UnicodeError: malformed, for example two dots in a row
        return "the host name is unknown"
    return (getattr(error, "strerror", None) or str(error)).lower()
