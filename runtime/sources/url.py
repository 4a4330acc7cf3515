"""Network addresses: remove credentials, and find out why an address gives no video."""

import re
import socket
from typing import Final
from urllib.parse import urlsplit

SCHEMES: Final = {"rtsp": 554, "rtsps": 322, "rtmp": 1935, "http": 80, "https": 443}
"""Schemes that FFmpeg reads, each with its default port."""

_SECRETS = re.compile(
    r"\b(user(?:name)?|usr|login|pass(?:word|wd)?|pwd|psw|(?:access_?|auth_?)?token|auth|api_?key|key|secret|sig(?:nature)?)"
    r"=[^&/;#\s]*",
    re.IGNORECASE,
)


def redact(url: str) -> str:
    """Return an address without credentials: user, password and parameters such as ``token=``.

    A password with ``@``, ``/`` or ``?`` should be percent-encoded. If it is not, everything up to the last ``@`` is
    removed, and the result may lack the host.
    """
    scheme, _, rest = url.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if ":" in authority or "@" in authority:
        rest = rest.rpartition("@")[2]
    return scheme + "://" + _SECRETS.sub(r"\1=***", rest)


def diagnose(url: str, timeout_s: float = 2.0) -> str:
    """Return the reason why an address could not be opened; OpenCV does not report it.

    Args:
        url: the address.
        timeout_s: seconds to wait for a connection.

    Returns: half a sentence, lower case.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or SCHEMES[parts.scheme.lower()]
    except ValueError:
        return "the address is malformed; percent-encode special characters of the password"
    try:
        socket.create_connection((host, port), timeout=timeout_s).close()
    except TimeoutError:
        return f"port {port} did not answer within {timeout_s:g} s"
    except (socket.gaierror, UnicodeError):  # UnicodeError: the name is malformed, for example two dots in a row
        return "the host name is unknown"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return "the server answered, but gave no video; check the path, the user and the password"
