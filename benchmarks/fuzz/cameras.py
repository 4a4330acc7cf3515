"""Attack: a camera over HTTP that sends random heads, boundaries, pictures and pauses. Needs Linux's ``/proc``."""

import io
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import numpy as np
from PIL import Image

from camrt.benchmarks.fuzz.outcome import Outcome

_CAMERA_S: Final = 30.0
"""Seconds after which a camera counts as one that holds camrt."""
_MOST_MB: Final = 900.0
"""Megabytes of memory that the process may take."""
_READ: Final = """
import re, sys
from pathlib import Path
from camrt.errors import CamrtError
from camrt.runtime.sources import SourceOptions, open_source
for url in sys.stdin:
    effect = "works"
    try:
        source = open_source(url.strip(), options=SourceOptions(silence_s=1.0))
        for _ in range(4):
            if source.read().lost:
                effect = "lost"
                break
        source.close()
    except CamrtError as error:
        effect = "refused"
    except Exception as error:
        effect = f"traceback: {type(error).__name__}: {error}".splitlines()[0][:200]
    # Not ru_maxrss: that starts with the memory of the process that started this one.
    peak_kb = re.search("VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]
    print(int(peak_kb) // 1000, effect, flush=True)
"""


def attack(seed: int, seconds: float) -> Outcome:
    """Let another process read from random cameras, one after the other, until the time is over."""
    outcome, until_s = Outcome(), time.monotonic() + seconds
    number = 0
    while time.monotonic() < until_s:
        command = [sys.executable, "-c", _READ]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
            while time.monotonic() < until_s and reader.poll() is None:
                number += 1
                effect = _let_read(reader, random.Random(f"{seed} {number}"))
                is_harm = effect not in ("works", "lost", "refused")
                outcome.counts["harm" if is_harm else effect] += 1
                if is_harm:
                    outcome.harm.append(f"cameras, seed {seed}, camera {number}: {effect}")
                    break
            reader.kill()
    return outcome


def _let_read(reader: "subprocess.Popen[str]", generator: random.Random) -> str:
    """Serve one camera, and return what it did to the reader."""
    assert reader.stdin is not None
    assert reader.stdout is not None
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_serve, args=(server, generator), daemon=True).start()
        killer = threading.Timer(_CAMERA_S, reader.kill)
        killer.start()
        try:
            reader.stdin.write(f"http://127.0.0.1:{server.getsockname()[1]}/video\n")
            reader.stdin.flush()
            line = reader.stdout.readline()
        finally:
            killer.cancel()
    if not line:
        return f"the process ended, or nothing came within {_CAMERA_S:g} s"
    memory_mb, _, effect = line.strip().partition(" ")
    return f"{memory_mb} MB of memory" if float(memory_mb) > _MOST_MB else effect


def _serve(server: socket.socket, generator: random.Random) -> None:
    answer = _ANSWERS[generator.randrange(len(_ANSWERS))](generator)
    with suppress(OSError):  # closed at the end
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_send, args=(connection, answer, generator.random() < 0.1), daemon=True).start()


def _send(connection: socket.socket, answer: bytes, stalls: bool) -> None:
    with connection, suppress(OSError):
        connection.settimeout(20)
        connection.recv(4096)
        if stalls:
            connection.sendall(answer[: len(answer) // 2])
            time.sleep(2)
            connection.sendall(answer[len(answer) // 2 :])
        else:
            connection.sendall(answer)


def _picture(generator: random.Random) -> bytes:
    size = generator.choice(((1, 1), (64, 48), (640, 480), (60_000, 3), (3, 60_000), (9000, 9000)))
    kind = generator.choice(("JPEG", "JPEG", "JPEG", "PNG", "GIF", "BMP", "TIFF", "WebP"))
    file = io.BytesIO()
    try:
        Image.fromarray(np.zeros((size[1], size[0], 3), np.uint8)).save(file, kind)
    except (OSError, ValueError):  # a format with smaller limits
        Image.new("RGB", (64, 48)).save(file, "JPEG")
    return file.getvalue()


def _damaged(generator: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(generator.choice((0, 0, 1, 5, 50))):
        at = generator.randrange(len(changed))
        changed[at : at + generator.choice((0, 1, 30))] = generator.randbytes(generator.choice((0, 1, 30)))
        if not changed:
            break
    return bytes(changed)


def _head(generator: random.Random, kind: str, length: int | None) -> bytes:
    rare = ("206 Partial Content", "500 Error", "302 Found", "999", "")
    status = generator.choice(("200 OK",) * 5 + rare)
    lines = [f"HTTP/1.{generator.choice('0119')} {status}", f"Content-Type: {kind}"]
    if length is not None and generator.random() < 0.7:
        lines.append(f"Content-Length: {generator.choice((length, length, length, 0, -1, 10**12, 'x'))}")
    if generator.random() < 0.1:
        others = ("Transfer-Encoding: chunked", "Location: /video", f"X: {'y' * 100_000}", "\0: \r")
        lines.append(generator.choice(others))
    return "\r\n".join([*lines, "", ""]).encode()


def _still(generator: random.Random) -> bytes:
    body = _damaged(generator, _picture(generator))
    kind = generator.choice(("image/jpeg", "image/png", "text/html", ""))
    return _damaged(generator, _head(generator, kind, len(body))) + body


def _stream(generator: random.Random) -> bytes:
    boundary = generator.choice(("frame", "--frame", '"a b"', "", "x" * 5000))
    body = _head(generator, f"multipart/x-mixed-replace; boundary={boundary}", None)
    for _ in range(generator.randrange(1, 12)):
        picture = _damaged(generator, _picture(generator))
        length = generator.choice((len(picture), len(picture), 0, 10**12, len(picture) // 2))
        part = f"--{boundary}\r\nContent-Type: image/jpeg\r\nContent-Length: {length}\r\n\r\n".encode()
        body += _damaged(generator, part) + picture + b"\r\n"
    return body


def _endless(generator: random.Random) -> bytes:
    start = generator.choice((b"--frame\r\n\r\n", b"\xff\xd8\xff", b"\xff\xd8\xff\xe0\x00\x02", b"", b"#EXTM3U\n"))
    head = _head(generator, "multipart/x-mixed-replace; boundary=frame", None)
    return head + start + bytes(generator.choice((1, 200)) << 20)


_ANSWERS: Final[tuple[Callable[[random.Random], bytes], ...]] = (
    _still,
    _stream,
    _stream,
    _endless,
    lambda generator: generator.randbytes(generator.randrange(5000)),
)
