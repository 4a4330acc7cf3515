"""Whoever watches the browser view: read as a browser reads it, to see what comes and how late."""

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
_AGAIN_S: Final = 0.5
_BLOCK: Final = 65536
_HEAD: Final = 200
"""Bytes of a part in which its type and its number are found."""
_BOUNDARY: Final = b"\r\n--frame"


class Viewer:
    """Reads the pictures of a camera until it is closed, and connects anew when it is cut off."""

    def __init__(self, url: str, camera: int | str = 0) -> None:
        self._address = urlsplit(url)
        self._path = f"/stream?camera={camera}"
        self._closed = threading.Event()
        self.pictures = 0
        self.bytes = 0
        self.connections = 0
        self.newest_s = time.monotonic()
        """When the newest picture came, on the monotonic clock."""
        self.longest_gap_s = 0.0
        """Longest time between two pictures."""
        self.came: dict[int, float] = {}
        """When each picture came, seconds since the epoch, by its frame's number; only the newest thousand."""
        self._thread = threading.Thread(target=self._run, name=f"viewer of {self._path}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Watch no more."""
        self._closed.set()
        self._thread.join(_TIMEOUT_S + 1)

    def _run(self) -> None:
        while not self._closed.is_set():
            connection = http.client.HTTPConnection(self._address.netloc, timeout=_TIMEOUT_S)
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection.request("GET", self._path)
                answer = connection.getresponse()
                if answer.status == 200:
                    self.connections += 1
                    self._read(answer)
            connection.close()
            self._closed.wait(_AGAIN_S)

    def _read(self, answer: http.client.HTTPResponse) -> None:
        rest = b""
        while not self._closed.is_set():
            block = answer.read1(_BLOCK)
            if not block:
                return
            self.bytes += len(block)
            *parts, rest = (rest + block).split(_BOUNDARY)
            for part in parts:
                if b"image/jpeg" in part[:_HEAD]:
                    found = _NUMBER.search(part[:_HEAD])  # a mosaic has none
                    self._take(None if found is None else int(found[1]))

    def _take(self, number: int | None) -> None:
        now = time.monotonic()
        if self.pictures:
            self.longest_gap_s = max(self.longest_gap_s, now - self.newest_s)
        self.newest_s = now
        self.pictures += 1
        if number is not None:
            self.came[number] = time.time()
        if len(self.came) > 1000:
            del self.came[next(iter(self.came))]


class Follower:
    """Reads the events: when each frame arrived."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url)
        self._closed = threading.Event()
        self.times: dict[tuple[int, int], float] = {}
        """When a frame arrived, seconds since the epoch, by camera and the frame's number."""
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Follow no more."""
        self._closed.set()
        self._thread.join(_TIMEOUT_S + 1)

    def _run(self) -> None:
        connection = http.client.HTTPConnection(self._address.netloc, timeout=_TIMEOUT_S)
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/events")
            answer = connection.getresponse()
            while not self._closed.is_set() and (line := answer.readline()):
                if line.startswith(b"data: "):
                    for seen in json.loads(line[6:])["seen"]:
                        self.times[seen["camera"], seen["frame"]] = seen["time"]
        connection.close()


def get(url: str, path: str) -> bytes:
    """Return what a path of the view answers. Raises: OSError: it does not, or not with 200."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    except http.client.HTTPException as error:
        raise OSError(str(error)) from error
    finally:
        connection.close()
    if answer.status != 200:
        raise OSError(f"{path}: {answer.status} {body[:200].decode(errors='replace')}")
    return body


def state_of(url: str) -> dict[str, Any]:
    """Return the state that the API tells. Raises: OSError."""
    found: dict[str, Any] = json.loads(get(url, "/api/state"))
    return found
