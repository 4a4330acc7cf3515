"""``camrt live --serve`` in a process of its own, and a client for it."""

import http.client
import json
import re
import socket
import ssl
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from camrt.runtime.assets import DEMO_MODEL
from support.command import started

DEMO = str(DEMO_MODEL)
SYNTHETIC = ("--source", "synthetic")


class Served:
    """A running server and its address."""

    def __init__(self, process, output):
        url = output.split()[-1]
        parts = urlsplit(url)
        self.process = process
        self.output = output
        """Lines that it printed, up to its address."""
        self.url = url
        self.scheme, self.host, self.port = parts.scheme, parts.hostname, parts.port
        self.token = parts.query.removeprefix("token=")

    def connect(self):
        """Open a connection through the loopback interface, whatever the host of the address is."""
        if self.scheme == "http":
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=context)

    def request(self, path, method="GET", body=None, **headers):
        """Return (response, body); in the names of ``headers``, ``_`` stands for ``-``."""
        connection = self.connect()
        try:
            fields = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, fields)
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def get(self, path, **headers):
        """Return the JSON at a path."""
        response, body = self.request(path, **headers)
        assert response.status == 200, body
        return json.loads(body)

    def change(self, **settings):
        """Change settings; returns (status, JSON)."""
        response, body = self.request("/api/settings", "PATCH", json.dumps(settings), Content_Type="application/json")
        return response.status, json.loads(body)

    def socket(self):
        """Return a bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def metric(self, name):
        """Return the value of a metric; several values are added up."""
        text = self.request("/metrics")[1].decode()
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))


@contextmanager
def serving(*flags, model=DEMO, source=SYNTHETIC, bind="0", cwd=None):
    """Run ``camrt live --serve`` until the block ends."""
    with started("live", model, *source, "--serve", bind, *flags, cwd=cwd) as process:
        output = ""
        for line in process.stderr:
            output += line
            if line.startswith("watch at "):
                yield Served(process, output)
                return
        raise AssertionError(output)


def jpegs(response):
    """Yield (number, JPEG file) for each image of a stream; the number of a mosaic is None."""
    for part in _parts(response, b"\r\n--frame\r\n"):
        head, _, jpeg = part.partition(b"\r\n\r\n")
        if part:
            assert head == b"Content-Type: image/jpeg"
            number = re.search(rb"frame (\d+)", jpeg[:64])
            yield number and int(number[1]), jpeg


def events(response):
    """Yield the events of a stream."""
    for part in _parts(response, b"\n\n"):
        if part.startswith(b"data: "):
            yield json.loads(part.removeprefix(b"data: "))


def _parts(response, boundary):
    data = b""
    while block := response.read1(65536):
        *parts, data = (data + block).split(boundary)
        yield from parts


def open_with_token(served, path="/", **headers):
    """Open a path with the token; returns (response, cookie)."""
    separator = "&" if "?" in path else "?"
    response, _ = served.request(f"{path}{separator}token={served.token}", **headers)
    return response, (response.headers["Set-Cookie"] or "").partition(";")[0]


def exchange(served, data, *, wait_s=20):
    """Send bytes; returns everything that the server sends until it closes the connection."""
    received = b""
    with served.socket() as connection:
        connection.settimeout(wait_s)
        with suppress(ConnectionError):
            connection.sendall(data)
            while block := connection.recv(65536):
                received += block
    return received
