"""``camrt live --serve`` in a process of its own, and what asks it."""

import http.client
import json
import re
import socket
import ssl
from contextlib import contextmanager
from urllib.parse import urlsplit

from camrt.runtime.assets import DEMO_MODEL
from support.command import started

DEMO = str(DEMO_MODEL)
SYNTHETIC = ("--source", "synthetic")


class Served:
    """A server that runs, and its address."""

    def __init__(self, process, said):
        url = said.split()[-1]
        parts = urlsplit(url)
        self.process = process
        self.said = said
        """What it printed up to its address."""
        self.url = url
        self.scheme, self.host, self.port = parts.scheme, parts.hostname, parts.port
        self.token = parts.query.removeprefix("token=")

    def connect(self):
        """Open a connection, by the loopback interface whatever the name of the address."""
        if self.scheme == "http":
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20, context=context)

    def ask(self, path, method="GET", body=None, **headers):
        """Return (response, body); ``headers`` with ``_`` for ``-``."""
        connection = self.connect()
        try:
            fields = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, fields)
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def get(self, path, **headers):
        """Return the JSON that is at a path."""
        response, body = self.ask(path, **headers)
        assert response.status == 200, body
        return json.loads(body)

    def change(self, **settings):
        """Change settings; returns (status, JSON)."""
        response, body = self.ask("/api/settings", "PATCH", json.dumps(settings), Content_Type="application/json")
        return response.status, json.loads(body)

    def socket(self):
        """Return a bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=40)

    def metric(self, name):
        """Return the value of a metric, the sum where there are several."""
        text = self.ask("/metrics")[1].decode()
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))


@contextmanager
def serving(*flags, model=DEMO, source=SYNTHETIC, bind="0", cwd=None):
    """Run ``camrt live --serve`` until the block ends."""
    with started("live", model, *source, "--serve", bind, *flags, cwd=cwd) as process:
        said = ""
        for line in process.stderr:
            said += line
            if line.startswith("watch at "):
                yield Served(process, said)
                return
        raise AssertionError(said)


def pictures(response):
    """Yield (number, JPEG file) of a stream as they come; a mosaic has no number."""
    for part in _parts(response, b"\r\n--frame\r\n"):
        head, _, jpeg = part.partition(b"\r\n\r\n")
        if part:
            assert head == b"Content-Type: image/jpeg"
            number = re.search(rb"frame (\d+)", jpeg[:64])
            yield number and int(number[1]), jpeg


def events(response):
    """Yield the events of a stream as they come."""
    for part in _parts(response, b"\n\n"):
        if part.startswith(b"data: "):
            yield json.loads(part.removeprefix(b"data: "))


def _parts(response, boundary):
    data = b""
    while more := response.read1(65536):
        *whole, data = (data + more).split(boundary)
        yield from whole
