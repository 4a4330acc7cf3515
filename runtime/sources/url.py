"""Network addresses: what may be shown of them, and why one does not answer."""

import re
import socket
from typing import Final
from urllib.parse import urlsplit

SCHEMES: Final = {"rtsp": 554, "rtsps": 322, "rtmp": 1935, "http": 80, "https": 443}
"""What can be read, and its usual port."""

_SECRETS = re.compile(
    r"\b(user(?:name)?|usr|login|pass(?:word|wd)?|pwd|psw|(?:access_?|auth_?)?token|auth|api_?key|key|secret|sig(?:nature)?)"
    r"=[^&/;#\s]*",
    re.IGNORECASE,
)


def redact(url: str) -> str:
    """Return an address without what opens the camera: user, password, and parameters that carry such.

    A password that holds ``@``, ``/`` or ``?`` should be percent-encoded; where it is not, everything up to the last
    ``@`` is cut, at the price of a name that may lack its host.
    """
    scheme, _, rest = url.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if ":" in authority or "@" in authority:
        rest = rest.rpartition("@")[2]
    return scheme + "://" + _SECRETS.sub(r"\1=***", rest)


def why_not(url: str, timeout_s: float = 2.0) -> str:
    """Find out why an address could not be opened, which OpenCV does not tell, and say it in half a sentence."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or SCHEMES[parts.scheme.lower()]
    except ValueError:
        return "the address is malformed; percent-encode special characters of the password"
    try:
        socket.create_connection((host, port), timeout=timeout_s).close()
    except TimeoutError:
        return f"port {port} did not answer within {timeout_s:g} s"
    except (socket.gaierror, UnicodeError):  # the second of a name that cannot be one, as with two dots in a row
        return "the host's name is not known"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return "the server answered, but gave no video; check the path, the user and the password"
