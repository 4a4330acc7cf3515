"""``camrt live --serve`` over HTTP: images, results, settings, metrics, start and end."""

import io
import json
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from itertools import islice

import cv2
import numpy as np
import pytest

import camrt
from camrt.runtime.serve.publisher import VIEWERS
from support import REPOSITORY
from support.command import refusal
from support.desktop import eventually
from support.overlays import draw_shared
from support.serving import DEMO, events, jpegs, serving
from support.videos import read_video

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def live():
    with serving() as served:
        assert eventually(lambda: served.get("/api/state")["cameras"][0]["frames"])
        yield served


@pytest.fixture
def adjustable(live):
    """The live server; its settings are restored at the end."""
    before = live.get("/api/settings")
    yield live
    live.change(**before)


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    """The server of a standing image, and the image."""
    folder = tmp_path_factory.mktemp("still")
    frame = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    frame = cv2.resize(frame, (320, 240), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(folder / "image.png"), frame)
    with serving(source=("--source", "image.png"), cwd=folder) as served:
        assert eventually(lambda: served.request("/api/result")[0].status == 200)
        yield served, frame


def decoded(jpeg):
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)


def test_each_image_is_sent_once_and_in_order(live):
    connection = live.connect()
    connection.request("GET", "/stream")
    response = connection.getresponse()
    assert response.headers["Content-Type"] == "multipart/x-mixed-replace; boundary=frame"
    numbers, images = zip(*((number, decoded(jpeg)) for number, jpeg in islice(jpegs(response), 10)), strict=True)
    connection.close()
    assert all(image.shape == (480, 640, 3) for image in images)
    assert sorted(set(numbers)) == list(numbers)
    assert len({image.tobytes() for image in images}) == 10


def test_an_image_is_complete_before_the_next_one_is_made(still):
    """A browser shows an image only after it has read the header of the next part."""
    served, frame = still
    connection = served.connect()
    connection.request("GET", "/stream")
    _, jpeg = next(jpegs(connection.getresponse()))
    connection.close()
    assert np.abs(decoded(jpeg).astype(int) - camrt.load(DEMO, "cpu")(frame).draw(frame)).mean() < 3


def test_opencv_reads_the_stream(live):
    capture = cv2.VideoCapture(f"http://127.0.0.1:{live.port}/stream")
    images = [capture.read()[1] for _ in range(3)]
    capture.release()
    assert all(image is not None and image.shape == (480, 640, 3) for image in images)


def test_events_describe_the_images_of_the_stream(live):
    streams = [live.connect() for _ in range(2)]
    for connection, path in zip(streams, ("/stream", "/events"), strict=True):
        connection.request("GET", path)
    received = list(islice(events(streams[1].getresponse()), 20))
    numbers = {number for number, _ in islice(jpegs(streams[0].getresponse()), 15)}
    for connection in streams:
        connection.close()
    assert all(event["seen"][0]["result_frame"] <= event["seen"][0]["frame"] for event in received)
    assert len(numbers & {event["seen"][0]["frame"] for event in received}) >= 8


def test_result_and_raw_map_are_those_of_the_model(still):
    served, frame = still
    result = camrt.load(DEMO, "cpu")(frame)
    record = served.get("/api/result?top=3")
    assert [row["class_id"] for row in record["top"]] == [row[0] for row in result.top(3)]
    assert [row["score"] for row in record["top"]] == pytest.approx([row[2] for row in result.top(3)], abs=1e-6)
    assert (record["width"], record["height"], record["lost"]) == (320, 240, "")
    for class_id, path in ((None, "/api/map.npy"), (4, "/api/map.npy?class_id=4")):
        response, body = served.request(path)
        assert "attachment" in response.headers["Content-Disposition"]
        np.testing.assert_allclose(np.load(io.BytesIO(body)), result.cam(class_id), rtol=1e-5, atol=1e-5)


def test_a_changed_setting_redraws_a_standing_image(still):
    served, frame = still
    result = camrt.load(DEMO, "cpu")(frame)
    connection = served.connect()
    connection.request("GET", "/stream")
    images = jpegs(connection.getresponse())
    next(images)
    status, now = served.change(classes=[3, 1], colormap="bone", alpha=0.9, threshold=0.4, boxes=False)
    assert (status, now["classes"]) == (200, [3, 1])
    expected = draw_shared(result, frame, 3, 1, colormap="bone", alpha=0.9, threshold=0.4)
    drawn = next(image for image in (decoded(jpeg) for _, jpeg in images) if image.shape == expected.shape)
    connection.close()
    assert np.abs(drawn.astype(int) - expected).mean() < 4
    snapshot = decoded(served.request("/api/snapshot.jpg")[1])
    assert np.abs(snapshot.astype(int) - expected).mean() < 4
    assert [row["class_id"] for row in served.get("/api/result")["explained"]] == [3, 1]
    status, now = served.change(classes=[], colormap="turbo", alpha=0.7, threshold=0.0)
    assert (status, now["classes"]) == (200, [])


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"alpha": 1.5}, "alpha 1.5 must be within"),
        ({"threshold": -1}, "threshold -1"),
        ({"colormap": "mauve"}, "no colour map 'mauve'; known: turbo"),
        ({"classes": [0, 6]}, "no class 6; the model has 0 to 5"),
        ({"classes": [-1]}, "no class -1"),
        ({"classes": [0, 1, 2, 3, 4, 5, 0]}, "at most 6"),
        ({"classes": "all"}, "list"),
        ({"boxes": "yes"}, "bool"),
        ({"path": "/etc/passwd"}, "Extra"),
    ],
)
def test_a_request_with_a_wrong_setting_changes_nothing(adjustable, wrong, reason):
    before = adjustable.get("/api/settings")
    status, response = adjustable.change(**{"alpha": 0.9} | wrong)
    assert status == 422
    assert reason in str(response["detail"])
    assert adjustable.get("/api/settings") == before


def test_a_body_that_is_not_json_is_refused(adjustable):
    for body in (b"", b"{", b"[]", b'{"alpha": NaN}', b"\xff"):
        response, _ = adjustable.request("/api/settings", "PATCH", body, Content_Type="application/json")
        assert response.status in (400, 422)
    assert adjustable.request("/api/settings", "PATCH", b'{"alpha": 0.1}', Content_Type="text/plain")[0].status == 422
    assert adjustable.get("/api/settings")["alpha"] == 0.7


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (rb'{"alpha": [NaN]}', "valid number"),
        (rb'{"classes": [1e999]}', "valid integer"),
        (rb'{"\ud800": 1}', "unicode"),
    ],
)
def test_a_value_that_json_cannot_hold_is_refused_with_the_reason(adjustable, body, reason):
    response, text = adjustable.request("/api/settings", "PATCH", body, Content_Type="application/json")
    assert response.status == 422
    assert reason in json.loads(text.decode("ascii"))["detail"][0]["msg"]


def test_a_paused_image_stays_while_frames_are_counted(adjustable):
    adjustable.change(paused=True)
    time.sleep(0.2)  # for the frame that is being drawn
    first, frames = adjustable.get("/api/result"), adjustable.get("/api/state")["cameras"][0]["frames"]
    assert eventually(lambda: adjustable.get("/api/state")["cameras"][0]["frames"] > frames + 3)
    assert adjustable.get("/api/result") == first
    adjustable.change(paused=False)
    assert eventually(lambda: adjustable.get("/api/result")["frame"] > first["frame"])


def test_unknown_cameras_and_paths_are_refused(live):
    for path in (
        "/api/result?camera=1",
        "/stream?camera=7",
        "/api/snapshot.jpg?camera=-1",
        "/api/map.npy?class_id=6",
        f"/api/map.npy?class_id={2**63}",
    ):
        assert live.request(path)[0].status == 422, path
    for path in ("/live.js/..", "/../app.py", "/%2e%2e/app.py", "/page/index.html", "//etc/passwd", "/docs", "/redoc"):
        assert live.request(path)[0].status == 404, path
    assert live.request("/api/settings", "DELETE")[0].status == 405


def test_the_metrics_are_prometheus_text(live):
    response, body = live.request("/metrics")
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    sample = re.compile(r'[a-z_]+(\{[a-z_]+="(?:[^"\\]|\\.)*"(,[a-z_]+="(?:[^"\\]|\\.)*")*\})? [-+.e0-9]+')
    families = set()
    for line in body.decode().splitlines():
        if line.startswith("# TYPE "):
            families.add(line.split()[2])
        elif not line.startswith("# HELP "):
            assert sample.fullmatch(line), line
            assert line.partition("{")[0].split()[0] in families
    frames = live.metric("camrt_frames_total")
    assert live.metric("camrt_class_frames_total") == pytest.approx(live.metric("camrt_classified_total"), abs=60)
    assert eventually(lambda: live.metric("camrt_frames_total") > frames)
    assert live.metric("camrt_up") == 1
    assert {"camrt_fps", "camrt_stage_seconds", "camrt_dropped_frames_total", "camrt_frame_age_seconds"} <= families
    assert {"camrt_reconnects_total", "camrt_viewers"} <= families


def test_every_route_is_described(live):
    paths = live.get("/openapi.json")["paths"]
    expected = {
        "/stream",
        "/events",
        "/metrics",
        "/healthz",
        "/api/state",
        "/api/result",
        "/api/settings",
        "/api/labels",
    }
    assert expected | {"/api/snapshot.jpg", "/api/map.npy"} == set(paths)
    assert set(paths["/api/settings"]) == {"get", "patch"}
    assert live.get("/healthz") == {"status": "ok"}
    assert live.get("/api/labels") == list(camrt.load(DEMO, "cpu").labels)


def test_the_health_check_of_the_documents_works(live):
    document = (REPOSITORY / "docs" / "browser.md").read_text(encoding="utf-8")
    (code,) = re.findall(r'test: python -c "(.*)"', document)
    for port, status in ((live.port, 0), (1, 1)):
        command = [sys.executable, "-c", code.replace("8080", str(port))]
        assert subprocess.run(command, capture_output=True, check=False).returncode == status


def test_viewers_are_counted_limited_and_forgotten(live):
    viewers = []
    for _ in range(VIEWERS):
        connection = live.connect()
        connection.request("GET", "/stream")
        next(jpegs(response := connection.getresponse()))
        viewers.append((connection, response))
    assert live.metric("camrt_viewers") == VIEWERS
    response, body = live.request("/stream")
    assert response.status == 503
    assert f"{VIEWERS} viewers are connected already" in body.decode()
    assert int(response.headers["Retry-After"]) > 0
    for connection, response in viewers:
        response.close()
        connection.close()
    assert eventually(lambda: live.metric("camrt_viewers") == 0)


@pytest.mark.slow
def test_a_viewer_that_does_not_read_is_cut_off_and_delays_no_other(live):
    unread = live.socket()
    unread.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert eventually(lambda: live.metric("camrt_viewers") == 1)
    connection = live.connect()
    connection.request("GET", "/stream")
    images = jpegs(connection.getresponse())
    lags = []
    for number, _ in islice(images, 60):
        lags.append(live.get("/api/result")["frame"] - number)
    assert np.median(lags) < 60  # no queue of old images grows
    assert eventually(lambda: live.metric("camrt_viewers") == 1)
    next(images)
    connection.close()
    unread.settimeout(60)
    received = 0
    with suppress(ConnectionResetError):
        while block := unread.recv(65536):
            received += len(block)
    unread.close()
    assert received < 8_000_000  # the buffers of the system; the server keeps nothing else


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_server_at_once_in_spite_of_open_connections(how):
    with serving() as served:
        connection = served.connect()
        connection.request("GET", "/stream")
        next(jpegs(connection.getresponse()))
        unread = served.socket()
        unread.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        silent = served.socket()
        idle = served.socket()
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert eventually(lambda: served.metric("camrt_viewers") == 2)
        served.process.send_signal(how)
        _, errors = served.process.communicate(timeout=120)
        for client in (connection, unread, silent, idle):
            client.close()
    assert served.process.returncode == 0, errors
    assert "Traceback" not in errors
    assert "frames in" in errors


def test_an_image_stays_until_ctrl_c(photo, mobilenet):
    with serving(model=mobilenet, source=("--source", photo)) as served:
        assert eventually(lambda: served.request("/api/result")[0].status == 200)
        (_, label, _), *_ = camrt.load(mobilenet, "cpu")(cv2.imread(str(photo))).top(1)
        assert served.get("/api/result")["explained"][0]["label"] == label
        served.process.send_signal(signal.SIGINT)
        _, errors = served.process.communicate(timeout=120)
    assert served.process.returncode == 0, errors


def test_a_video_is_served_and_recorded_at_the_same_time(dog_video, mobilenet, tmp_path):
    flags = ["--frames", "5", "-o", "out.mp4"]
    with serving(*flags, model=mobilenet, source=("--source", dog_video), cwd=tmp_path) as served:
        _, errors = served.process.communicate(timeout=120)
    assert served.process.returncode == 0, errors
    assert len(read_video(tmp_path / "out.mp4")[0]) == 5


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--serve", "eighty"], "--serve eighty: write PORT or HOST:PORT"),
        (["--serve", "65536"], "--serve 65536"),
        (["--serve", ":80"], "--serve :80"),
        (["--serve", "no.such.host.invalid:0"], "unknown host"),
        (["--no-auth", "-o", "none"], "--no-auth needs --serve"),
        (["--certfile", "c.pem", "-o", "none"], "--certfile needs --serve"),
        (["--serve", "0", "--keyfile", "k.pem"], "--keyfile needs --certfile"),
        (["--serve", "0", "--certfile", "none.pem"], "no file none.pem"),
        (["--serve", "0", "--certfile", DEMO], "not a certificate with its key"),
    ],
)
def test_wrong_flags_are_refused(flags, reason, tmp_path):
    assert reason in refusal("live", DEMO, "--source", "synthetic", *flags, status=2, cwd=tmp_path)


def test_a_port_in_use_is_reported(live):
    error = refusal("live", DEMO, "--source", "synthetic", "--serve", str(live.port), status=1)
    assert f"127.0.0.1:{live.port}: cannot listen there" in error
    assert "Choose another address or port" in error
