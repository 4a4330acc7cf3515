"""Clients of the browser view: read streams and events like a browser, and record what arrives and when."""

import contextlib
import http.client
import json
import re
import threading
import time
from typing import Any, Final
from urllib.parse import urlsplit

_NUMBER: Final = re.compile(rb"\xff\xfe..frame (\d+)", re.DOTALL)
_TIMEOUT_S: Final = 5.0
_RETRY_S: Final = 0.5
_BLOCK: Final = 65536
_HEADER_BYTES: Final = 200
"""Bytes at the start of a part that contain its type and its frame number."""
_BOUNDARY: Final = b"\r\n--frame"


class StreamViewer:
    """Read the images of a camera until `close`, and reconnect when the connection ends."""

    def __init__(self, url: str, camera: int | str = 0) -> None:
        self._address = urlsplit(url)
        self._path = f"/stream?camera={camera}"
        self._closed = threading.Event()
        self.images = 0
        """Number of images so far."""
        self.connections = 0
        """Number of connections so far."""
        self.arrival_s: dict[int, float] = {}
        """Arrival time of the newest thousand images, in seconds since the epoch, by frame number."""
        self._thread = threading.Thread(target=self._run, name=f"viewer of {self._path}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop reading."""
        self._closed.set()
        self._thread.join(_TIMEOUT_S + 1)

    def _run(self) -> None:
        while not self._closed.is_set():
            connection = http.client.HTTPConnection(self._address.netloc, timeout=_TIMEOUT_S)
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection.request("GET", self._path)
                response = connection.getresponse()
                if response.status == 200:
                    self.connections += 1
                    self._read(response)
            connection.close()
            self._closed.wait(_RETRY_S)

    def _read(self, response: http.client.HTTPResponse) -> None:
        rest = b""
        while not self._closed.is_set():
            block = response.read1(_BLOCK)
            if not block:
                return
            *parts, rest = (rest + block).split(_BOUNDARY)
            for part in parts:
                if b"image/jpeg" in part[:_HEADER_BYTES]:
                    number = _NUMBER.search(part[:_HEADER_BYTES])  # None for a mosaic
                    self._count(None if number is None else int(number[1]))

    def _count(self, number: int | None) -> None:
        self.images += 1
        if number is not None:
            self.arrival_s[number] = time.time()
        if len(self.arrival_s) > 1000:
            del self.arrival_s[next(iter(self.arrival_s))]


class EventReader:
    """Read the server-sent events until `close`, and record when each frame arrived."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url)
        self._closed = threading.Event()
        self.times: dict[tuple[int, int], float] = {}
        """Arrival time of each frame, in seconds since the epoch, by camera and frame number."""
        self._thread = threading.Thread(target=self._run, name="event reader", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop reading events."""
        self._closed.set()
        self._thread.join(_TIMEOUT_S + 1)

    def _run(self) -> None:
        connection = http.client.HTTPConnection(self._address.netloc, timeout=_TIMEOUT_S)
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/events")
            response = connection.getresponse()
            while not self._closed.is_set() and (line := response.readline()):
                if line.startswith(b"data: "):
                    for frame in json.loads(line[6:])["seen"]:
                        self.times[frame["camera"], frame["frame"]] = frame["time"]
        connection.close()


def get(url: str, path: str) -> bytes:
    """Return the body of a path of the browser view. Raises: OSError: no response, or a status other than 200."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
    except http.client.HTTPException as error:
        raise OSError(str(error)) from error
    finally:
        connection.close()
    if response.status != 200:
        raise OSError(f"{path}: {response.status} {body[:200].decode(errors='replace')}")
    return body


def get_state(url: str) -> dict[str, Any]:
    """Return the state from the API. Raises: OSError: see `get`."""
    state: dict[str, Any] = json.loads(get(url, "/api/state"))
    return state
