"""Server of a hub with two cameras: API, metrics, health, mosaic, and the work for viewers."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

import camrt
from camrt.errors import SinkError, UsageError
from camrt.runtime.maps.attention_drift import Attention, ClassDrift
from camrt.runtime.render.display_settings import DisplaySettings, SettingsStore
from camrt.runtime.render.renderer import Renderer
from camrt.runtime.serve import Server, publisher, rate_limit
from camrt.runtime.serve.prometheus import metrics
from camrt.runtime.serve.server import Address
from camrt.runtime.stream import hub as hub_module
from camrt.runtime.stream.hub import Hub
from support.desktop import eventually
from support.serving import Served, events, jpegs
from support.sources import StillSource
from support.stream_items import classified, without_signal
from support.tiny_models import model_info, write_linear

NAMES = ('the "door"', "yard\\left\nhere")


def decoded(jpeg):
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)


def test_each_camera_has_its_own_result_and_snapshot(model, hub, served):
    assert served.request("/api/result")[0].status == 404
    assert served.request("/api/snapshot.jpg?camera=1")[0].status == 404
    assert [camera["state"] for camera in served.get("/api/state")["cameras"]] == ["waiting", "waiting"]
    hub.streams[0].write(classified(model, 50, 7))
    hub.streams[1].write(classified(model, 200, 3, size=(32, 64)))
    for number, (level, index, height) in enumerate(((50, 7, 48), (200, 3, 32))):
        record = served.get(f"/api/result?camera={number}")
        assert (record["camera"], record["frame"], record["height"]) == (number, index, height)
        image = decoded(served.request(f"/api/snapshot.jpg?camera={number}")[1])
        assert image.shape == (height, 64, 3)
        assert abs(image.mean() - level) < 2
    assert [camera["name"] for camera in served.get("/api/state")["cameras"]] == [NAMES[0], r"yard\left\nhere"]


@pytest.mark.parametrize(
    "hub", [("/srv/recordings/north/door.mp4", "/srv/recordings/south/door.mp4", "rtsp://user:pw@cam/1")], indirect=True
)
def test_the_api_has_the_full_and_a_short_name_of_each_source(hub, served):
    cameras = served.get("/api/state")["cameras"]
    assert [camera["name"] for camera in cameras] == [stream.name for stream in hub.streams]
    assert [camera["short_name"] for camera in cameras] == ["north/door.mp4", "south/door.mp4", "cam/#3f29"]


def test_the_mosaic_shows_each_camera_in_its_shape(model, hub, served):
    connection = served.connect()
    connection.request("GET", "/stream?camera=all")
    hub.streams[0].write(classified(model, 50, 0))
    hub.streams[1].write(classified(model, 200, 0, size=(16, 64)))
    images = (decoded(jpeg) for _, jpeg in jpegs(connection.getresponse()))
    image = next(image for image in islice(images, 5) if image[240, 960].mean() > 100)
    connection.close()
    assert image.shape == (480, 1280, 3)
    assert abs(image[240, 320].mean() - 50) < 3
    assert abs(image[240, 960].mean() - 200) < 3
    assert image[20, 700].mean() < 3  # black above the wide image
    assert image[:20, 900:1020].max() > 200  # the name of the camera


def test_a_lost_camera_is_drawn_dark_and_its_return_is_counted(model, hub, served):
    for index in (0, 1, 4):  # two frames were dropped
        hub.streams[0].write(classified(model, 200, index))
    hub.streams[0].write(without_signal(200, 4))
    hub.streams[1].write(classified(model, 100, 0))
    first, second = served.get("/api/state")["cameras"]
    assert (first["state"], first["dropped"], first["frames"], second["state"]) == ("lost", 2, 3, "live")
    assert (served.metric("camrt_up"), served.metric("camrt_reconnects_total")) == (1, 0)
    record = served.get("/api/result")
    assert record["lost"] == "the cable came off"
    assert (record["top"], record["explained"], record["boxes"], record["stages_ms"]) == ([], [], [], {})
    assert served.request("/api/map.npy")[0].status == 404
    assert np.median(decoded(served.request("/api/snapshot.jpg")[1])) < 120
    hub.streams[0].write(classified(model, 200, 9))
    assert (served.metric("camrt_up"), served.metric("camrt_reconnects_total")) == (2, 1)
    assert served.get("/api/state")["cameras"][0]["dropped"] == 2  # frames without a signal are not dropped ones
    hub.streams[0].close()
    assert served.get("/api/state")["cameras"][0]["state"] == "ended"
    assert served.request("/api/snapshot.jpg")[0].status == 200


def test_every_snapshot_has_the_map_of_its_frame(model, hub, served):
    hub.settings.update(alpha=1.0, alpha_by_value=False, normalize="running")
    for level, index in ((20, 0), (200, 9000)):
        hub.streams[0].write(classified(model, level, index))
        hub.pause(index > 0)
        for _ in range(2):
            image = decoded(served.request("/api/snapshot.jpg")[1])
            assert np.ptp(image.mean(axis=(0, 1))) > 20  # the frames are grey


def test_a_live_source_without_frames_has_stalled_and_the_health_check_fails(model, hub, served, monkeypatch):
    assert served.request("/healthz")[0].status == 200
    hub.streams[0].write(classified(model, 50, 0))
    hub.streams[1].write(without_signal(50, 0))
    assert served.request("/healthz")[0].status == 200
    monkeypatch.setattr(hub_module, "STALLED_S", 0.0)
    response, body = served.request("/healthz")
    assert response.status == 503
    assert json.loads(body) == {"status": "stalled", "cameras": [0], "view": False}
    assert [camera["state"] for camera in served.get("/api/state")["cameras"]] == ["stalled", "lost"]
    assert served.metric("camrt_up") == 0
    hub.streams[0].close()
    assert served.request("/healthz")[0].status == 200  # the source has ended


def test_attention_is_in_the_metrics_the_api_and_the_events(model, hub, served):
    text = served.request("/metrics")[1].decode()
    assert "camrt_attention_drift{" not in text
    assert "attention" not in {key for key, value in served.get("/api/state")["cameras"][0].items() if value}
    drift = ClassDrift(3, model.labels[3], 2.5)
    attention = Attention(1.25, "centre", True, [drift])
    hub.streams[0].write(classified(model, 50, 0, attention=attention, attention_changed=True))
    hub.streams[1].write(classified(model, 50, 0))
    text = served.request("/metrics")[1].decode()
    name = NAMES[0].replace('"', r"\"")
    assert f'camrt_attention_drift{{camera="0",name="{name}"}} 1.25' in text.splitlines()
    label = model.labels[3].replace("\\", r"\\").replace('"', r"\"")
    assert f'camrt_attention_drift{{camera="0",name="{name}",class="{label}",class_id="3"}} 2.5' in text.splitlines()
    assert served.metric("camrt_attention_outside") == 1
    found = served.get("/api/result?camera=0")["attention"]
    assert (found["drift"], found["statistic"], found["outside"], found["event"]) == (1.25, "centre", True, "left")
    assert found["classes"] == [{"class_id": 3, "label": model.labels[3], "drift": 2.5}]
    assert served.get("/api/result?camera=1")["attention"] is None
    hub.streams[0].write(classified(model, 50, 1, attention=replace(attention, outside=False)))
    assert served.get("/api/result?camera=0")["attention"]["event"] == ""
    assert served.metric("camrt_attention_outside") == 0


def test_an_image_that_is_too_tall_for_jpeg_is_shrunk(model, hub, served):
    hub.streams[0].write(classified(model, 200, 0, size=(70_000, 20)))
    hub.streams[1].write(classified(model, 50, 0))
    height, width = decoded(served.request("/api/snapshot.jpg")[1]).shape[:2]
    assert (height, width) == (65_500, 19)
    connection = served.connect()
    connection.request("GET", "/stream?camera=0")
    image = decoded(next(jpegs(connection.getresponse()))[1])
    connection.close()
    assert image.shape == (2560, 1, 3)


def test_a_failure_of_one_image_is_reported_once_and_the_view_goes_on(model, hub):
    told = []
    server = Server(hub, Address("127.0.0.1", 0), tell=told.append)
    served = Served(None, server.url)
    streams = [served.connect() for _ in range(2)]
    for number, connection in enumerate(streams):
        connection.request("GET", f"/stream?camera={number}")
    item = classified(model, 200, 0)
    broken = replace(item, frame=replace(item.frame, image=np.zeros((0, 64, 3), np.uint8)))
    for _ in range(3):
        hub.streams[0].write(broken)
        hub.streams[1].write(classified(model, 50, 1))
    assert abs(decoded(next(jpegs(streams[1].getresponse()))[1]).mean() - 50) < 2
    assert eventually(lambda: told)
    hub.streams[0].write(item)
    assert abs(decoded(next(jpegs(streams[0].getresponse()))[1]).mean() - 200) < 2
    assert (server.alive, served.request("/healthz")[0].status) == (True, 200)
    for connection in streams:
        connection.close()
    server.stop()
    assert len(told) == 1
    assert told[0].startswith(f"{hub.streams[0].name}: an image cannot be shown in the browser: ")


@pytest.mark.parametrize("hub", [("caf\udce9", "a\x1b[2Jb\u202e")], indirect=True)
def test_names_that_cannot_be_drawn_or_encoded_are_escaped(model, hub, served):
    for stream in hub.streams:
        stream.write(classified(model, 50, 0))
    names = [camera["name"] for camera in served.get("/api/state")["cameras"]]
    assert names == [r"caf\udce9", r"a\x1b[2Jb\u202e"]
    connection = served.connect()
    connection.request("GET", "/stream?camera=all")
    assert decoded(next(jpegs(connection.getresponse()))[1]).max() > 200  # the names are drawn
    connection.close()
    connection = served.connect()
    connection.request("GET", "/events")
    event = next(events(connection.getresponse()))
    connection.close()
    assert [camera["name"] for camera in event["cameras"]] == names
    assert r'name="caf\\udce9"' in served.request("/metrics")[1].decode()


def test_many_requests_for_a_snapshot_draw_it_once(model, hub, served, monkeypatch):
    drawn = []
    render = Renderer.render
    monkeypatch.setattr(Renderer, "render", lambda *args: drawn.append(args) or render(*args))
    hub.streams[0].write(classified(model, 50, 0))
    first = served.request("/api/snapshot.jpg")[1]
    assert all(served.request("/api/snapshot.jpg")[1] == first for _ in range(5))
    assert len(drawn) == 1
    hub.settings.update(alpha=1.0, alpha_by_value=False)
    assert served.request("/api/snapshot.jpg")[1] != first
    assert len(drawn) == 2


def test_requests_beyond_the_rate_wait_and_then_are_refused(hub, monkeypatch):
    monkeypatch.setattr(rate_limit, "_BURST", 5)
    monkeypatch.setattr(rate_limit, "REQUESTS_PER_S", 10.0)
    monkeypatch.setattr(rate_limit, "_LONGEST_S", 0.5)
    server = Server(hub, Address("127.0.0.1", 0))
    served = Served(None, server.url)
    with ThreadPoolExecutor(40) as pool:
        started = time.monotonic()
        answers = list(pool.map(lambda _: served.request("/healthz")[0].status, range(40)))
        seconds = time.monotonic() - started
    server.stop()
    assert set(answers) == {200, 429}
    # 5 at once, and as many as may wait; the test itself takes some time, in which more are due.
    assert 8 <= answers.count(200) <= 12 + 10 * seconds
    assert seconds >= 0.3  # some waited


def test_two_classes_with_one_label_are_two_metrics(tmp_path):
    labels = ("crane", "crane", "crane", "other")
    model = camrt.load(write_linear(tmp_path / "model.onnx", info=model_info(labels=labels)), provider="cpu")
    hub = Hub(model, SettingsStore(DisplaySettings()), [StillSource("cam")])
    for index, class_id in enumerate((0, 1, 1)):
        item = classified(model, 50, index)
        item.result.scores[:] = np.arange(4) == class_id
        hub.streams[0].write(item)
    lines = [line for line in metrics(hub, 0).splitlines() if line.startswith("camrt_class_frames_total{")]
    assert [(line.partition("class_id=")[2], line[-1]) for line in lines] == [('"0"} 1', "1"), ('"1"} 2', "2")]


def test_a_file_without_new_frames_has_not_stalled(model, monkeypatch):
    hub = Hub(model, SettingsStore(DisplaySettings()), [StillSource("image.png", live=False)])
    hub.streams[0].write(classified(model, 50, 0))
    monkeypatch.setattr(hub_module, "STALLED_S", 0.0)
    assert hub.streams[0].status().state == "live"


def test_metrics_escape_any_name(model, hub, served):
    for camera in (0, 1):
        for level in (0, 255):
            hub.streams[camera].write(classified(model, level, level))
    text = served.request("/metrics")[1].decode()
    assert 'camrt_frames_total{camera="0",name="the \\"door\\""} 2' in text
    assert 'camrt_frames_total{camera="1",name="yard\\\\left\\\\nhere"} 2' in text
    assert len(text.splitlines()) == text.count("\n")
    assert served.metric("camrt_class_frames_total") == served.metric("camrt_classified_total") == 4


def test_numbers_that_json_cannot_hold_are_null(model, hub, served):
    item = classified(model, 10, 0)
    item.result.scores[:] = np.nan
    hub.streams[0].write(item)
    assert [row["score"] for row in served.get("/api/result")["top"]] == [None] * 4
    connection = served.connect()
    connection.request("GET", "/events")
    event = next(events(connection.getresponse()))
    connection.close()
    assert [row["score"] for row in event["seen"][0]["top"]] == [None] * 4


def test_nothing_is_drawn_without_a_viewer(model, hub, served, monkeypatch):
    calls, render = [], Renderer.render
    monkeypatch.setattr(Renderer, "render", lambda *arguments: calls.append(1) or render(*arguments))
    for index in range(20):
        hub.streams[0].write(classified(model, index, index))
    connection = served.connect()
    connection.request("GET", "/events")
    event = next(events(connection.getresponse()))
    assert event["seen"][0]["frame"] == 19
    assert not calls
    connection.close()
    viewer = served.connect()
    viewer.request("GET", "/stream?camera=0")
    number, _ = next(jpegs(viewer.getresponse()))
    viewer.close()
    assert number == 19
    assert calls


def test_events_have_the_times_of_drawing_only_for_drawn_images(model, hub, served):
    stages_ms = {"preprocess": 1.0, "inference": 8.0}
    hub.streams[0].write(classified(model, 90, 0, stages_ms=stages_ms))
    hub.streams[1].write(classified(model, 90, 0, stages_ms=stages_ms, same_scene=False))
    connection = served.connect()
    connection.request("GET", "/events")
    received = events(connection.getresponse())
    assert [seen["stages_ms"] for seen in next(received)["seen"]] == [stages_ms, stages_ms]
    viewer = served.connect()
    viewer.request("GET", "/stream?camera=all")
    next(jpegs(viewer.getresponse()))
    first, second = next(islice(received, 2, None))["seen"]
    connection.close()
    viewer.close()
    assert set(first["stages_ms"]) == {"preprocess", "inference", "cam", "overlay"}
    assert second["stages_ms"] == stages_ms  # a scene cut: the frame is shown without a map


def test_an_image_is_encoded_once_for_all_viewers(model, hub, served, monkeypatch):
    calls, encode = [], publisher.jpeg
    monkeypatch.setattr(publisher, "jpeg", lambda *arguments: calls.append(1) or encode(*arguments))
    connections = [served.connect() for _ in range(4)]
    for connection in connections:
        connection.request("GET", "/stream")
    assert eventually(lambda: served.metric("camrt_viewers") == 4)
    hub.streams[0].write(classified(model, 90, 5))
    parts = [next(jpegs(connection.getresponse())) for connection in connections]
    for connection in connections:
        connection.close()
    assert len(set(parts)) == 1
    assert parts[0][0] == 5
    assert len(calls) <= 2  # a second one if a viewer came in between


def test_a_vanished_viewer_of_a_standing_image_is_noticed(model, hub, served):
    """The kernel sends probes, because nothing is written that could fail."""
    hub.streams[0].write(classified(model, 90, 5))
    connection = served.connect()
    connection.request("GET", "/stream")
    assert next(jpegs(connection.getresponse()))[0] == 5
    peer = connection.sock.getsockname()[1]
    assert eventually(lambda: timer(served.port, peer)[0] == "keepalive")
    assert timer(served.port, peer)[1] <= 30
    connection.close()


def timer(port, peer):
    """Return the kind of the kernel's timer for a connection to this machine, and its remaining seconds."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, _, running, *_ = line.split()
        if (int(local[-4:], 16), int(remote[-4:], 16)) == (port, peer):
            kind, _, ticks = running.partition(":")
            return {"00": "nothing", "01": "acknowledgement", "02": "keepalive"}[kind], int(ticks, 16) / 100
    raise AssertionError(f"no connection from {peer} to {port}")


def test_wrong_use_is_refused_before_anything_listens(hub, tmp_path):
    with pytest.raises(UsageError, match="no camera 2; there are 0 to 1"):
        hub.stream(2)
    assert Address.parse("8080") == Address("127.0.0.1", 8080)
    assert Address.parse("[::1]:0") == Address("::1", 0)
    assert Address.parse("somewhere:1") == Address("somewhere", 1)
    for wrong in ("", ":", "a", "1.5", "-1", ":1", "a:", "a:b", "٣"):
        with pytest.raises(UsageError, match="write PORT or HOST:PORT"):
            Address.parse(wrong)
    threads = set(threading.enumerate())
    with pytest.raises(SinkError, match="cannot listen there"):
        Server(hub, Address("192.0.2.1", 0))  # an address of documentation, which no machine has
    (tmp_path / "empty.pem").touch()
    with pytest.raises(UsageError, match="not a certificate"):
        Server(hub, Address("127.0.0.1", 0), certfile=tmp_path / "empty.pem")
    assert set(threading.enumerate()) <= threads
