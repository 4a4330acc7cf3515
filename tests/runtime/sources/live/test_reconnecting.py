"""Cameras that are lost and come back: frame numbers grow, waits double, and no other source waits for them."""

import socket
import threading
import time
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest

from camrt.errors import SourceError
from camrt.runtime.render.display_settings import DisplaySettings, SettingsStore
from camrt.runtime.render.renderer import Renderer
from camrt.runtime.sources import open_source
from camrt.runtime.sources.live import reconnecting
from camrt.runtime.sources.live.capture_thread import CaptureThread
from camrt.runtime.sources.live.reconnecting import ReconnectingSource, back_off_s
from camrt.runtime.stream.pipeline import Pipeline
from support import http_camera, rtsp_camera
from support.connections import connect, free_port
from support.picture_server import picture, serving
from support.stalling import network

WITHIN_S = 60
"""A deadline for threads and processes. It matters only when one of them hangs."""


@pytest.fixture(scope="module")
def http(shared_data):
    with http_camera.serve(shared_data / "videos" / "oc_dog.mp4") as address:
        yield address


@contextmanager
def camera(url, tell=lambda line: None, **timeouts):
    """A source with shorter time-outs than those of `open_source`."""
    begin = partial(connect, url, **timeouts)
    source = ReconnectingSource(begin, begin(), tell)
    try:
        yield source
    finally:
        source.close()


def read_until(source, condition):
    """Read up to the first frame that satisfies ``condition``, and return all frames."""
    frames = [source.read()]
    while not condition(frames[-1]):
        frames.append(source.read())
    return frames


def is_lost(frame):
    return frame.lost


def is_there(frame):
    return not frame.lost


def port_of(address):
    return int(address.rpartition(":")[2])


@pytest.mark.rtsp
def test_a_restarted_camera_comes_back_with_growing_frame_numbers():
    lines = []
    with rtsp_camera.serve() as (server, address):
        source = open_source(f"{address.replace('//', '//user:secret@')}/live", tell=lines.append)
        frames = read_until(source, lambda frame: frame.index > 10)
        server.kill()
    frames += read_until(source, is_lost)
    assert source.losses == 1
    assert source.lost == frames[-1].lost
    assert frames[-1].lost.startswith("was lost: ")
    assert frames[-1].image is frames[-2].image
    waiting = read_until(source, lambda frame: "refused; trying again in " in frame.lost)
    with rtsp_camera.serve(port_of(address), size=(160, 120)):
        waiting += read_until(source, is_there)
        again = [source.read() for _ in range(10)]
    source.close()
    assert {frame.image.shape for frame in frames} == {(240, 320, 3)}
    assert {frame.image.shape for frame in again} == {(120, 160, 3)}
    indices = [frame.index for frame in frames + waiting + again]
    assert indices == sorted(set(indices))
    assert (source.lost, source.losses, source.mode) == ("", 1, "H264 160x120 at 30 fps")
    assert [line.removeprefix(f"{address}/live ").split(":")[0] for line in lines[:2]] == [
        "gives H264 320x240 at 30 fps",
        "was lost",
    ]
    assert lines[2].startswith(f"{address}/live is back after ")
    assert len(lines) == 3
    assert "secret" not in "".join(lines) + "".join(frame.lost + frame.name for frame in frames + waiting)


@pytest.mark.rtsp
def test_late_packets_are_no_loss():
    with rtsp_camera.serve() as (_, address), network(port_of(address)) as between:
        source = open_source(f"rtsp://127.0.0.1:{between.port}/live")
        before = read_until(source, lambda frame: frame.index > 10)[-1]
        between.held.set()
        time.sleep(3.0)
        between.held.clear()
        frames = read_until(source, lambda frame: frame.index > before.index + 60)
        source.close()
    assert not any(frame.lost for frame in frames)
    assert source.losses == 0


@pytest.mark.rtsp
def test_a_blocked_network_is_a_loss_until_it_is_free():
    with rtsp_camera.serve() as (_, address), network(port_of(address)) as between:
        url = f"rtsp://127.0.0.1:{between.port}/live"
        with camera(url, open_timeout_s=2.0, read_timeout_s=1.0) as source:
            read_until(source, lambda frame: frame.index > 10)
            between.held.set()
            assert "no frame for 1 s" in read_until(source, is_lost)[-1].lost
            read_until(source, lambda frame: "no answer within 2 s" in frame.lost)
            between.held.clear()
            read_until(source, is_there)
            assert source.losses == 1


def test_a_frame_of_another_size_is_drawn_and_fitted_into_the_video(http, model, tmp_path):
    from camrt.runtime.sinks import VideoSink
    from support.videos import read_video

    sizes = []
    source = open_source(f"{http}/grows")
    pipeline = Pipeline(
        model,
        source,
        SettingsStore(DisplaySettings()),
        renderer=Renderer(hud=True, provider="cpu", threads=1),
        recorders=[VideoSink(tmp_path / "out.mp4", fps=None)],
    )

    def on_item(item):
        sizes.append(item.frame.image.shape)
        if sizes.count((96, 72, 3)) == 5:
            pipeline.stop()

    pipeline.run(on_item)
    assert list(dict.fromkeys(sizes)) == [(48, 64, 3), (96, 72, 3)]
    frames, _ = read_video(tmp_path / "out.mp4")
    assert len(frames) == len(sizes)
    assert {frame.shape for frame in frames} == {(48, 64, 3)}
    assert frames[-1][:, :10].mean() < 10 < frames[-1][:, 30:34].mean()  # black bars beside what is drawn


def test_a_single_source_that_does_not_answer_is_an_error_at_once():
    with pytest.raises(SourceError, match="connection refused"):
        open_source(f"rtsp://127.0.0.1:{free_port()}/live")


@pytest.mark.parametrize("text", ["rtsp://127.0.0.1:{port}/live", "97"])
def test_a_patient_source_that_does_not_answer_is_lost_and_black(text):
    source = open_source(text.format(port=free_port()), patient=True)
    frames = read_until(source, lambda frame: "trying again in " in frame.lost)
    source.close()
    assert all(frame.lost for frame in frames)
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert frames[-1].image.shape == (360, 640, 3)
    assert not frames[-1].image.any()
    assert "connection refused" in frames[-1].lost or "no camera 97" in frames[-1].lost
    assert (source.losses, source.live, source.frame_count, source.fps) == (0, True, None, None)


@pytest.mark.rtsp
def test_a_patient_source_that_starts_later_is_shown():
    port = free_port()
    source = open_source(f"rtsp://127.0.0.1:{port}/live", patient=True)
    read_until(source, is_lost)
    with rtsp_camera.serve(port):
        frame = read_until(source, is_there)[-1]
    source.close()
    assert frame.image.shape == (240, 320, 3)
    assert source.losses == 0


def test_an_http_file_is_not_live_and_ends(http):
    for patient in (False, True):
        source = open_source(f"{http}/video.mp4", patient=patient)
        assert (source.live, source.frame_count) == (False, 336)
        source.close()


def test_an_http_file_that_answers_late_is_shown_and_ends(http):
    with network(port_of(http)) as between:
        between.held.set()
        source = open_source(f"http://127.0.0.1:{between.port}/video.mp4", patient=True)
        assert source.live
        read_until(source, is_lost)
        between.held.clear()
        frames = []
        while (frame := source.read()) is not None:
            frames.append(frame)
    assert frames[-1].image.shape == (720, 1280, 3)
    assert source.losses == 0


def test_waits_double_up_to_a_limit_and_vary_randomly():
    waits = [back_off_s(failures) for failures in range(12)]
    for failures, wait_s in enumerate(waits):
        expected = min(30.0, 0.5 * 2**failures)
        assert 0.8 * expected <= wait_s <= 1.2 * expected
    assert back_off_s(10**6) <= 36.0
    assert len({back_off_s(3) for _ in range(20)}) > 1


def test_waits_grow_while_a_camera_keeps_failing(http):
    with camera(f"{http}/short") as source:
        frames = read_until(source, lambda frame: "trying again in 2 s" in frame.lost)
    assert source.losses >= 3
    assert any(is_there(frame) for frame in frames)


def test_waits_start_short_again_after_a_stable_connection(http, monkeypatch):
    monkeypatch.setattr(reconnecting, "_STABLE_S", 0.2)
    with camera(f"{http}/short") as source:
        frames = read_until(source, lambda _: source.losses == 6)
    waits = {frame.lost.partition("; ")[2] for frame in frames if frame.lost}
    assert waits <= {"trying again in 1 s", "trying now"}


def test_a_loss_just_after_the_wait_is_a_loss(http):
    """The thread of a connection may end between two reads."""

    class Late(CaptureThread):
        looked = False

        def read(self, timeout_s=None):
            if not self.looked:
                self.looked = True
                while not self.ended:
                    time.sleep(0.01)
                return None  # as if the wait had ended before
            return super().read(timeout_s)

    def fail():
        raise SourceError("camera was lost")

    def begin():
        return Late("camera", fail, open_timeout_s=1.0, read_timeout_s=1.0)

    source = ReconnectingSource(begin, begin(), lambda line: None)
    assert source.read().lost.startswith("was lost; trying again")
    source.close()


def test_a_camera_that_ends_each_connection_after_one_picture_is_classified(model):
    def handle(server, request):
        yield b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=b\r\n\r\n--b\r\n"
        yield b"Content-Type: image/jpeg\r\n\r\n" + picture()

    items = []
    with serving(handle) as server:
        source = open_source(f"http://{server.address}/")
        pipeline = Pipeline(model, source, SettingsStore(DisplaySettings()))

        def on_item(item):
            items.append(item)
            if sum(item.result is not None for item in items) == 2:
                pipeline.stop()

        pipeline.run(on_item)
    assert any(item.frame.lost for item in items)


@contextmanager
def silent():
    """A server that accepts every connection and sends nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield f"rtsp://127.0.0.1:{server.getsockname()[1]}/live"


@pytest.mark.parametrize("state", ["opens", "reads", "backs off"])
def test_close_ends_every_wait(http, state):
    with silent() as address:
        urls = {"opens": address, "reads": f"{http}/stalls", "backs off": f"rtsp://127.0.0.1:{free_port()}/live"}
        condition = {"opens": "trying now", "reads": "", "backs off": "trying again in 4 s"}[state]
        arrived = threading.Event()
        with camera(urls[state], open_timeout_s=600.0, read_timeout_s=600.0) as source:

            def read():
                while (frame := source.read()) is not None:
                    if condition in frame.lost and (state != "reads" or frame.index >= http_camera.FRAMES - 1):
                        arrived.set()

            reader = threading.Thread(target=read)
            reader.start()
            assert arrived.wait(WITHIN_S)
            time.sleep(0.3)  # now `read` waits
            source.close()
            reader.join(WITHIN_S)
            assert not reader.is_alive()
            source.close()
            assert source.read() is None


def test_connections_to_a_silent_camera_do_not_pile_up():
    with silent() as address, camera(address, open_timeout_s=1.0, read_timeout_s=1.0) as source:
        for _ in range(6):
            assert source.read().lost
            assert sum(thread.name == f"read {source.name}" for thread in threading.enumerate()) <= 1


@pytest.mark.slow
def test_a_dead_camera_does_not_stop_another(http, model):
    items = {"dead": [], "alive": []}
    with silent() as address:
        pipelines = {
            "dead": Pipeline(model, open_source(address, patient=True), SettingsStore(DisplaySettings())),
            "alive": Pipeline(model, open_source(f"{http}/endless"), SettingsStore(DisplaySettings())),
        }
        threads = [
            threading.Thread(target=pipeline.run, args=(items[name].append,)) for name, pipeline in pipelines.items()
        ]
        for thread in threads:
            thread.start()
        while len(items["alive"]) < 50 or len(items["dead"]) < 2:
            time.sleep(0.05)
        for pipeline in pipelines.values():
            pipeline.stop()
        for thread in threads:
            thread.join(WITHIN_S)
        assert not any(thread.is_alive() for thread in threads)
    assert all(item.result is None for item in items["dead"])
    assert all(item.result is not None for item in items["alive"])


@pytest.mark.rtsp
def test_a_frame_after_a_loss_has_a_result_from_after_the_loss(model):
    items = []
    with rtsp_camera.serve() as (server, address):
        source = open_source(f"{address}/live")
        pipeline = Pipeline(model, source, SettingsStore(DisplaySettings()))
        restarted = threading.Event()

        def on_item(item):
            items.append((item.frame.index, item.result_index, item.frame.lost))
            if len(items) == 10:
                server.kill()
            if item.frame.lost:
                restarted.set()
            elif restarted.is_set():
                pipeline.stop()

        thread = threading.Thread(target=pipeline.run, args=(on_item,))
        thread.start()
        assert restarted.wait(WITHIN_S)
    with rtsp_camera.serve(port_of(address)):
        thread.join(WITHIN_S)
        assert not thread.is_alive()
    lost_at = max(index for index, _, lost in items if lost)
    index, result_index, lost = items[-1]
    assert not lost
    assert lost_at < result_index <= index
    assert np.all(np.diff([index for index, *_ in items]) > 0)
