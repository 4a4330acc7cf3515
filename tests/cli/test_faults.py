"""Faults in long runs: ``camrt live`` goes on, or ends properly with complete files."""

import http.client
import json
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from camrt.benchmarks.endurance.live_process import live
from camrt.benchmarks.endurance.viewers import StreamViewer, get, get_state
from camrt.runtime.assets import DEMO_MODEL
from support.events import read_events
from support.needs import skip_or_fail
from support.videos import read_video

pytestmark = pytest.mark.process

CLOCK = Path(__file__).parents[1] / "support" / "jumping_clock.c"
YEARS_S = 20 * 365 * 86400


def frames_of(watched):
    return get_state(watched.url)["cameras"][0]["frames"]


def has_new_frames(watched, within_s=60):
    """Wait for new frames, and return whether they came."""
    before, until = frames_of(watched), time.monotonic() + within_s
    while time.monotonic() < until:
        if frames_of(watched) > before + 5:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("change", ["replaced", "overwritten", "removed"])
def test_a_change_of_the_model_file_does_not_affect_a_run(change, mobilenet, tmp_path):
    model = tmp_path / "model.onnx"
    shutil.copy(DEMO_MODEL, model)
    with live(model, ["synthetic"]) as watched:
        assert has_new_frames(watched)
        labels = get(watched.url, "/api/labels")
        if change == "replaced":
            shutil.copy(mobilenet, tmp_path / "other.onnx")
            (tmp_path / "other.onnx").replace(model)
        elif change == "overwritten":
            model.write_bytes(b"not a model" * 1000)
        else:
            model.unlink()
        assert has_new_frames(watched)
        assert get(watched.url, "/api/labels") == labels
        assert json.loads(get(watched.url, "/api/result"))["top"][0]["score"] is not None


def test_a_clock_jump_stops_nothing(tmp_path, monkeypatch):
    """A board without a battery-backed clock starts in 1970, and its clock is set when the network is up."""
    shim, offset = tmp_path / "clock.so", tmp_path / "offset"
    try:
        subprocess.run(["cc", "-shared", "-fPIC", "-o", shim, CLOCK, "-ldl"], check=True)
    except FileNotFoundError:
        skip_or_fail("no C compiler for the clock that jumps")
    offset.write_text("0")
    monkeypatch.setenv("JUMPING_CLOCK", str(offset))
    monkeypatch.setenv("LD_PRELOAD", str(shim))
    with live(
        DEMO_MODEL, ["synthetic"], "--events", str(tmp_path / "e.jsonl"), "-o", str(tmp_path / "v.mp4")
    ) as watched:
        monkeypatch.delenv("LD_PRELOAD")
        assert has_new_frames(watched)
        for jump in (YEARS_S, -YEARS_S, 0):
            offset.write_text(str(jump))
            assert has_new_frames(watched), watched.output()
            assert get_state(watched.url)["cameras"][0]["age_s"] < 60.0
    times = [event["time"] for event in read_events(tmp_path / "e.jsonl")]
    assert max(times) - min(times) > YEARS_S
    frames, fps = read_video(tmp_path / "v.mp4")
    assert len(frames) > 20
    assert 5 < fps < 60  # no gap of years


def test_sigterm_under_load_leaves_complete_files(tmp_path):
    outputs = ["--events", str(tmp_path / "e.jsonl"), "-o", str(tmp_path / "v.mp4")]
    with live(DEMO_MODEL, ["synthetic"], *outputs) as watched:
        viewers = [StreamViewer(watched.url) for _ in range(6)]
        assert has_new_frames(watched)
        watched.process.send_signal(signal.SIGTERM)
        watched.process.wait(60)
        for viewer in viewers:
            assert viewer.images
            viewer.close()
        assert watched.process.returncode == 0, watched.output()
        assert "Traceback" not in watched.output()
    events = read_events(tmp_path / "e.jsonl")
    assert len(read_video(tmp_path / "v.mp4")[0]) == len(events) > 5


REQUESTS = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /stream?camera=0 HTTP/1.1\r\nHost: localhost\r\nCookie: a=b\r\n\r\n",
    b"GET /api/map.npy?camera=0&class_id=3 HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n",
    b"PATCH /api/settings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n"
    b'{"alpha": 0.5}',
    b"POST /events HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
)
SPICE = (
    *(b"\0", b"\r\n", b"\r\n\r\n", b"%00", b"../../etc/passwd", b"%2e%2e%2f", b"\xff\xfe", b"A" * 70000, b"-1"),
    *(b"1e309", b"NaN", b"{", b"[" * 3000, b"Content-Length: 99999999999\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"Host: evil\r\n", b"HTTP/2.0", b"?camera=99", b"?class_id=-3", b"\xf0\x9f\x98\x80", b";;;", b"<script>"),
    *(b"' OR 1=1 --", b"Range: bytes=0-\r\n"),
)


def mutate(generator, data):
    """Return bytes with a few changes."""
    data = bytearray(data)
    for _ in range(generator.randint(1, 4)):
        at = generator.randrange(len(data) + 1)
        match generator.randrange(5):
            case 0:
                data[at:at] = generator.choice(SPICE)
            case 1:
                del data[at : at + generator.randint(1, 20)]
            case 2 if at < len(data):
                data[at] = generator.randrange(256)
            case 3:
                data[at:at] = data[: generator.randint(0, 40)]
            case _:
                del data[at:]
        data = data or bytearray(b"\r\n")
    return bytes(data)


def test_malformed_requests_are_answered_or_cut_off_without_side_effects():
    generator = random.Random(0)
    statuses = {}
    with live(DEMO_MODEL, ["synthetic"]) as watched:
        address = urlsplit(watched.url)
        memory = watched.memory_mb()
        viewer = StreamViewer(watched.url)
        for _ in range(400):
            with closing(socket.create_connection((address.hostname, address.port), timeout=5)) as connection:
                connection.settimeout(0.05)
                try:
                    connection.sendall(mutate(generator, generator.choice(REQUESTS)))
                    answer = connection.recv(64)
                except TimeoutError:
                    answer = b"(waits for more)"
                except OSError:
                    answer = b"(cut off)"
            status = re.match(rb"HTTP/1.1 (\d+)", answer)
            key = int(status[1]) if status else answer
            statuses[key] = statuses.get(key, 0) + 1
        assert not any(isinstance(key, int) and key >= 500 and key != 503 for key in statuses), statuses
        assert statuses.get(400, 0) > 20
        assert has_new_frames(watched)
        assert viewer.connections == 1  # the connection is still open
        viewer.close()
        assert "Traceback" not in watched.output(), watched.output()
        assert watched.memory_mb() < memory + 60
        assert watched.files() < 60


def test_a_camera_that_sends_garbage_is_lost_and_comes_back(tmp_path):
    """Valid JPEGs, mutated ones and noise: camrt skips or reports data that it cannot decode, and goes on."""
    garbage = """
import random, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import cv2
from camrt.synthetic_scene import Scene
whole = [cv2.imencode(".jpg", Scene(seed=0).view(i).image)[1].tobytes() for i in range(20)]
generator = random.Random(0)
class Camera(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for number in range(10**6):
            data = bytearray(whole[number % 20])
            if number > 40 and number % 3 == 0:
                for _ in range(generator.randint(1, 60)):
                    data[generator.randrange(len(data))] = generator.randrange(256)
            if number > 40 and number % 7 == 0:
                del data[generator.randrange(len(data)):]
            if number % 100 == 99:
                self.wfile.write(generator.randbytes(5000))
            head = "--frame\\r\\nContent-Type: image/jpeg\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(data)
            self.wfile.write(head.encode() + bytes(data) + b"\\r\\n")
            time.sleep(0.02)
            if number == 300:
                return
    def log_message(self, *_):
        pass
server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
print(server.server_port, flush=True)
server.serve_forever()
"""
    with subprocess.Popen([sys.executable, "-c", garbage], stdout=subprocess.PIPE, text=True) as camera:
        try:
            port = int(camera.stdout.readline())
            with live(DEMO_MODEL, [f"http://127.0.0.1:{port}/"], "--events", str(tmp_path / "e.jsonl")) as watched:
                until = time.monotonic() + 60
                while get_state(watched.url)["cameras"][0]["reconnects"] < 1:
                    assert watched.process.poll() is None, watched.output()
                    assert time.monotonic() < until, watched.output()
                    time.sleep(0.2)
                while sum(bool(event["top"]) for event in read_events(tmp_path / "e.jsonl")) <= 50:
                    assert time.monotonic() < until, watched.output()
                    time.sleep(0.2)
                assert "Traceback" not in watched.output()
        finally:
            camera.kill()
    assert any(event["lost"] for event in read_events(tmp_path / "e.jsonl"))


def test_the_number_of_viewers_is_limited_and_the_first_ones_stay(tmp_path):
    with live(DEMO_MODEL, ["synthetic"]) as watched:
        first = [StreamViewer(watched.url) for _ in range(2)]
        assert has_new_frames(watched)
        address = urlsplit(watched.url)
        flood, refused = [], 0
        for _ in range(150):
            connection = http.client.HTTPConnection(address.netloc, timeout=60)
            connection.request("GET", "/stream")
            refused += connection.getresponse().status == 503
            flood.append(connection)
        before = [viewer.images for viewer in first]
        assert refused > 100
        assert has_new_frames(watched)
        time.sleep(1.0)
        assert all(
            viewer.images > count and viewer.connections == 1 for viewer, count in zip(first, before, strict=True)
        )
        for connection in flood:
            connection.close()
        until = time.monotonic() + 60
        while get_state(watched.url)["viewers"] > 2:
            assert time.monotonic() < until
            time.sleep(0.1)
        for viewer in first:
            viewer.close()
