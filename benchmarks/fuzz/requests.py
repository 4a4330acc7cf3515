"""Attack: requests to the browser view, made at random from its own OpenAPI description."""

import http.client
import json
import random
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs, quote, urlsplit

from camrt.benchmarks.endurance.live_process import LiveProcess, live
from camrt.benchmarks.fuzz.outcome import Outcome
from camrt.runtime.assets import DEMO_MODEL

_TIMEOUT_S: Final = 20.0
_CHECK_EVERY: Final = 200
_NUMBERS: Final = (0, 1, -1, 2**31, 2**63, 0.5, -0.0, 1e308)
_VALUES: Final[tuple[Any, ...]] = (*_NUMBERS, "NaN", True, None, "", "x", "猫", "\x00", "a" * 3000, [], {}, [[]])


def attack(seed: int, seconds: float) -> Outcome:
    """Send requests to ``camrt live --serve`` until the time is over; it must go on as if nothing had happened."""
    generator, outcome, until_s = random.Random(seed), Outcome(), time.monotonic() + seconds
    with live(DEMO_MODEL, ["synthetic"]) as process:
        address = urlsplit(process.url)
        host, token = (
            address.netloc,
            parse_qs(address.query).get("token", [""])[0],
        )  # no token where only this machine can watch
        status, description = _send(host, "GET", "/openapi.json", {"Authorization": f"Bearer {token}"}, b"")
        if status != 200:
            outcome.harm.append(f"requests: /openapi.json answers {status}")
            return outcome
        paths = json.loads(description)["paths"]
        while time.monotonic() < until_s and not outcome.harm:
            method, path, headers, body = _request(generator, paths, token)
            status, _ = _send(host, method, path, headers, body)
            outcome.counts[f"{status // 100}xx" if status else "cut off"] += 1
            if status >= 500 and status != 503:
                outcome.harm.append(f"requests, seed {seed}: {method} {path[:200]} {body[:200]!r} gives {status}")
            if outcome.inputs % _CHECK_EVERY == 0:
                outcome.harm += _signs_of_harm(process, host)
        outcome.harm += _signs_of_harm(process, host)
    return outcome


def _signs_of_harm(process: LiveProcess, host: str) -> list[str]:
    if process.process.poll() is not None:
        return [f"requests: the process ended: {process.output()[-300:]}"]
    signs = ["requests: a traceback is in the log"] if "Traceback" in process.output() else []
    deadline_s = time.monotonic() + _TIMEOUT_S
    while (status := _send(host, "GET", "/healthz", {}, b"")[0]) != 200 and time.monotonic() < deadline_s:
        time.sleep(0.5)  # the rate limit of this client
    return [*signs, *([] if status == 200 else [f"requests: /healthz answers {status}"])]


def _request(
    generator: random.Random, paths: Mapping[str, Mapping[str, Any]], token: str
) -> tuple[str, str, dict[str, str], bytes]:
    """Return method, path, headers and body of a request."""
    path = generator.choice(sorted(paths))
    method = generator.choice([*(name.upper() for name in paths[path]), "GET", "PUT", "DELETE", "HEAD", "BREW"])
    for part in [part for part in path.split("/") if part.startswith("{")]:
        path = path.replace(part, quote(str(generator.choice((0, 1, -1, 2**70, "x", "..", "%00", "猫"))), safe=""))
    operation = paths.get(path, {}).get(method.lower(), {})
    names = [entry["name"] for entry in operation.get("parameters", ())] + ["frame", "head", "source", "x"]
    query = "&".join(
        f"{generator.choice(names)}={quote(str(generator.choice(_VALUES)))}" for _ in range(generator.randrange(4))
    )
    headers = {"Content-Type": generator.choice(("application/json", "application/json", "text/plain", ""))}
    if generator.random() < 0.8:
        headers["Authorization"] = f"Bearer {token}" if generator.random() < 0.95 else "Bearer x"
    for name in ("Origin", "Host", "Cookie", "Range", "If-None-Match", "Last-Event-ID", "Content-Length"):
        if generator.random() < 0.05:
            headers[name] = str(generator.choice(("x", "http://evil.example", "-1", "a=b; c", "bytes=0-")))
    return method, f"{path}?{query}" if query else path, headers, _body(generator)


def _body(generator: random.Random) -> bytes:
    names = ("classes", "colormap", "alpha", "threshold", "boxes", "normalize", "smooth", "fade", "head", "paused", "x")
    value = {generator.choice(names): generator.choice(_VALUES) for _ in range(generator.randrange(4))}
    kind = generator.randrange(6)
    if kind == 0:
        return generator.randbytes(generator.randrange(300))
    if kind == 1:
        return b"[" * generator.choice((10, 20_000))
    text = json.dumps(value)
    return (text[: generator.randrange(len(text) + 1)] if kind == 2 else text).encode()


def _send(host: str, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
    """Return status and body of the answer; (0, empty): the connection was cut. Of a stream only the head is read."""
    connection = http.client.HTTPConnection(host, timeout=_TIMEOUT_S)
    try:
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name, value.encode())
        if "Content-Length" not in headers:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        is_stream = answer.getheader("Content-Length") is None
        return answer.status, b"" if is_stream else answer.read()
    except (OSError, http.client.HTTPException, ValueError):
        return 0, b""
    finally:
        connection.close()
