"""Several cameras in one view: each is told apart, a lost one harms no other, and who does not look pays nothing."""

import json
import threading
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

import camrt
from camrt.errors import SinkError, UsageError
from camrt.runtime.frames import Frame, StreamItem
from camrt.runtime.render.display_settings import DisplaySettings, SettingsStore
from camrt.runtime.render.renderer import Renderer
from camrt.runtime.serve import Server, publisher
from camrt.runtime.serve.server import Address
from camrt.runtime.stream import hub as hub_module
from camrt.runtime.stream.hub import Hub
from support.chromium import chromium, open_page, shown_image
from support.desktop import eventually
from support.serving import Served, events, jpegs
from support.sources import StillSource
from support.tiny_models import LABELS, model_info, write_linear

NAMES = ('the "door"', "yard\\left\nhere")
GREY = DisplaySettings(alpha=0.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    labels = (f'an "{LABELS[0]}"', f"a\\{LABELS[1]}", *LABELS[2:])
    return camrt.load(write_linear(folder / "model.onnx", info=model_info(labels=labels)), provider="cpu")


@pytest.fixture
def hub(model):
    return Hub(model, SettingsStore(GREY), [StillSource(name) for name in NAMES])


@pytest.fixture
def served(hub):
    threads = set(threading.enumerate())
    server = Server(hub, Address("127.0.0.1", 0))
    yield Served(None, server.url)
    server.stop()
    server.stop()
    assert eventually(lambda: set(threading.enumerate()) <= threads)


def seen(model, level, index, *, size=(48, 64)):
    """What a pipeline gives of a grey frame."""
    frame = Frame(np.full((*size, 3), level, np.uint8), index, index / 10, "grey")
    return StreamItem(frame, model(frame.image), index)


def lost(level, index):
    frame = Frame(np.full((48, 64, 3), level, np.uint8), index, index / 10, "grey", lost="the cable came off")
    return StreamItem(frame, None, index)


def test_each_camera_is_told_apart(model, hub, served):
    assert served.request("/api/result")[0].status == 404
    assert served.request("/api/snapshot.jpg?camera=1")[0].status == 404
    assert [camera["state"] for camera in served.get("/api/state")["cameras"]] == ["waiting", "waiting"]
    hub.streams[0].write(seen(model, 50, 7))
    hub.streams[1].write(seen(model, 200, 3, size=(32, 64)))
    for number, (level, index, height) in enumerate(((50, 7, 48), (200, 3, 32))):
        told = served.get(f"/api/result?camera={number}")
        assert (told["camera"], told["frame"], told["height"]) == (number, index, height)
        jpeg = served.request(f"/api/snapshot.jpg?camera={number}")[1]
        image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert image.shape == (height, 64, 3)
        assert abs(image.mean() - level) < 2
    assert [camera["name"] for camera in served.get("/api/state")["cameras"]] == list(NAMES)


def test_all_cameras_are_on_the_mosaic_each_in_its_shape(model, hub, served):
    connection = served.connect()
    connection.request("GET", "/stream?camera=all")
    hub.streams[0].write(seen(model, 50, 0))
    hub.streams[1].write(seen(model, 200, 0, size=(16, 64)))
    response = connection.getresponse()
    shown = (cv2.imdecode(np.frombuffer(part[1], np.uint8), cv2.IMREAD_COLOR) for part in jpegs(response))
    image = next(image for image in islice(shown, 5) if image[240, 960].mean() > 100)
    connection.close()
    assert image.shape == (480, 1280, 3)
    assert abs(image[240, 320].mean() - 50) < 3
    assert abs(image[240, 960].mean() - 200) < 3
    assert image[20, 700].mean() < 3  # black above the wide one
    assert image[:20, 900:1020].max() > 200  # and its name


def test_a_lost_camera_is_shown_dark_and_counted_when_it_comes_back(model, hub, served):
    for index in (0, 1, 4):  # nobody had time for two
        hub.streams[0].write(seen(model, 200, index))
    hub.streams[0].write(lost(200, 4))
    hub.streams[1].write(seen(model, 100, 0))
    first, second = served.get("/api/state")["cameras"]
    assert (first["state"], first["dropped"], first["frames"], second["state"]) == ("lost", 2, 3, "live")
    assert (served.metric("camrt_up"), served.metric("camrt_reconnects_total")) == (1, 0)
    told = served.get("/api/result")
    assert (told["lost"], told["top"], told["explained"], told["boxes"]) == ("the cable came off", [], [], [])
    assert served.request("/api/map.npy")[0].status == 404
    image = cv2.imdecode(np.frombuffer(served.request("/api/snapshot.jpg")[1], np.uint8), cv2.IMREAD_COLOR)
    assert np.median(image) < 120
    hub.streams[0].write(seen(model, 200, 9))
    assert (served.metric("camrt_up"), served.metric("camrt_reconnects_total")) == (2, 1)
    assert served.get("/api/state")["cameras"][0]["dropped"] == 2  # what passed without a signal was not dropped
    hub.streams[0].close()
    assert served.get("/api/state")["cameras"][0]["state"] == "ended"
    assert served.request("/api/snapshot.jpg")[0].status == 200


def test_a_snapshot_has_its_map_whatever_the_scene_was_when_somebody_last_looked(model, hub, served):
    hub.settings.update(alpha=1.0, normalize="running")
    for level, index in ((20, 0), (200, 9000)):
        hub.streams[0].write(seen(model, level, index))
        hub.pause(index > 0)
        for _ in range(2):
            jpeg = served.request("/api/snapshot.jpg")[1]
            image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
            assert np.ptp(image.mean(axis=(0, 1))) > 20  # the frames are grey


def test_a_live_source_without_frames_has_stalled_and_the_health_check_fails(model, hub, served, monkeypatch):
    assert served.request("/healthz")[0].status == 200
    hub.streams[0].write(seen(model, 50, 0))
    hub.streams[1].write(lost(50, 0))
    assert served.request("/healthz")[0].status == 200
    monkeypatch.setattr(hub_module, "STALLED_S", 0.0)
    response, body = served.request("/healthz")
    assert response.status == 503
    assert json.loads(body) == {"status": "stalled", "cameras": [NAMES[0]]}
    assert [camera["state"] for camera in served.get("/api/state")["cameras"]] == ["stalled", "lost"]
    assert served.metric("camrt_up") == 0
    hub.streams[0].close()
    assert served.request("/healthz")[0].status == 200  # it has ended


def test_a_file_without_new_frames_has_not_stalled(model, monkeypatch):
    hub = Hub(model, SettingsStore(GREY), [StillSource("photo.png", live=False)])
    hub.streams[0].write(seen(model, 50, 0))
    monkeypatch.setattr(hub_module, "STALLED_S", 0.0)
    assert hub.streams[0].status().state == "live"


def test_metrics_hold_any_name(model, hub, served):
    for camera in (0, 1):
        for level in (0, 255):
            hub.streams[camera].write(seen(model, level, level))
    text = served.request("/metrics")[1].decode()
    assert 'camrt_frames_total{camera="0",name="the \\"door\\""} 2' in text
    assert 'camrt_frames_total{camera="1",name="yard\\\\left\\nhere"} 2' in text
    assert len(text.splitlines()) == text.count("\n")
    assert served.metric("camrt_class_frames_total") == served.metric("camrt_classified_total") == 4


def test_numbers_that_json_has_no_word_for_are_null(model, hub, served):
    item = seen(model, 10, 0)
    item.result.scores[:] = np.nan
    hub.streams[0].write(item)
    assert [row["score"] for row in served.get("/api/result")["top"]] == [None] * 4
    connection = served.connect()
    connection.request("GET", "/events")
    event = next(events(connection.getresponse()))
    connection.close()
    assert [row["score"] for row in event["seen"][0]["top"]] == [None] * 4


def test_nothing_is_drawn_while_nobody_watches(model, hub, served, monkeypatch):
    drawn, render = [], Renderer.render
    monkeypatch.setattr(Renderer, "render", lambda *arguments: drawn.append(1) or render(*arguments))
    for index in range(20):
        hub.streams[0].write(seen(model, index, index))
    connection = served.connect()
    connection.request("GET", "/events")
    told = events(connection.getresponse())
    assert next(told)["seen"][0]["frame"] == 19
    assert not drawn
    connection.close()
    watching = served.connect()
    watching.request("GET", "/stream?camera=0")
    number, _ = next(jpegs(watching.getresponse()))
    watching.close()
    assert number == 19
    assert drawn


def test_one_picture_is_encoded_once_for_all_who_watch(model, hub, served, monkeypatch):
    encoded, encode = [], publisher.jpeg
    monkeypatch.setattr(publisher, "jpeg", lambda *arguments: encoded.append(1) or encode(*arguments))
    connections = [served.connect() for _ in range(4)]
    for connection in connections:
        connection.request("GET", "/stream")
    assert eventually(lambda: served.metric("camrt_viewers") == 4)
    hub.streams[0].write(seen(model, 90, 5))
    parts = [next(jpegs(connection.getresponse())) for connection in connections]
    for connection in connections:
        connection.close()
    assert len(set(parts)) == 1
    assert parts[0][0] == 5
    assert len(encoded) <= 2  # the second, if any, for a viewer that came between


def test_a_viewer_that_vanishes_is_noticed_while_the_picture_stands_still(model, hub, served):
    """The kernel asks after it: nothing is written that it could fail to take."""
    hub.streams[0].write(seen(model, 90, 5))
    connection = served.connect()
    connection.request("GET", "/stream")
    assert next(jpegs(connection.getresponse()))[0] == 5
    peer = connection.sock.getsockname()[1]
    assert eventually(lambda: timer(served.port, peer)[0] == "keepalive")
    assert timer(served.port, peer)[1] <= 30
    connection.close()


def timer(port, peer):
    """Return what the kernel waits for on a connection to this machine, and for how many seconds yet."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, _, running, *_ = line.split()
        if (int(local[-4:], 16), int(remote[-4:], 16)) == (port, peer):
            kind, _, ticks = running.partition(":")
            return {"00": "nothing", "01": "acknowledgement", "02": "keepalive"}[kind], int(ticks, 16) / 100
    raise AssertionError(f"no connection from {peer} to {port}")


@pytest.mark.browser
def test_the_page_shows_all_cameras_and_each_alone(model, hub, served):
    hub.streams[0].write(seen(model, 50, 0))
    hub.streams[1].write(lost(200, 0))
    with chromium() as browser, open_page(browser, served.url) as page:
        assert eventually(lambda: shown_image(page).shape == (480, 1280, 3))
        assert "no signal" in page.locator("#captions").inner_text()
        saved = []
        page.on("download", lambda download: saved.append(download.url))
        page.keyboard.press("s")  # there is none of all, as there is no button for it
        page.wait_for_timeout(300)
        assert saved == []
        page.get_by_role("button", name="door").click()
        assert eventually(lambda: shown_image(page).shape == (48, 64, 3))
        assert page.locator("#state").inner_text() == "live"
        page.get_by_role("button", name="yard").click()
        assert eventually(lambda: page.locator("#state").inner_text() == "no signal")
        assert eventually(lambda: served.metric("camrt_viewers") == 1)


def test_what_is_wrong_is_refused_before_anything_listens(hub, tmp_path):
    with pytest.raises(UsageError, match="no camera 2; there are 0 to 1"):
        hub.stream(2)
    assert Address.parse("8080") == Address("127.0.0.1", 8080)
    assert Address.parse("[::1]:0") == Address("::1", 0)
    assert Address.parse("somewhere:1") == Address("somewhere", 1)
    for wrong in ("", ":", "a", "1.5", "-1", ":1", "a:", "a:b", "٣"):
        with pytest.raises(UsageError, match="write PORT or HOST:PORT"):
            Address.parse(wrong)
    threads = set(threading.enumerate())
    with pytest.raises(SinkError, match="cannot be had"):
        Server(hub, Address("192.0.2.1", 0))  # nobody's
    (tmp_path / "empty.pem").touch()
    with pytest.raises(UsageError, match="no certificate"):
        Server(hub, Address("127.0.0.1", 0), certfile=tmp_path / "empty.pem")
    assert set(threading.enumerate()) <= threads
