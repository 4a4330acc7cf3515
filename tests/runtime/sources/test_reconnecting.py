"""Cameras that come and go: lost at once, tried again, back with growing numbers; and nothing waits for them."""

import socket
import threading
import time
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest

from camrt.errors import SourceError
from camrt.runtime.maps.overlay import OverlayStyle
from camrt.runtime.render.display_settings import View
from camrt.runtime.render.renderer import Renderer
from camrt.runtime.sources import open_source, reconnecting
from camrt.runtime.sources.capture_thread import CaptureThread
from camrt.runtime.sources.reconnecting import ReconnectingSource, back_off_s
from camrt.runtime.stream.pipeline import Pipeline
from support import http_camera, rtsp_camera
from support.connections import connect, free_port
from support.stalling import network


@pytest.fixture(scope="module")
def http(shared_data):
    with http_camera.serve(shared_data / "videos" / "oc_dog.mp4") as address:
        yield address


@contextmanager
def camera(url, tell=lambda line: None, **timeouts):
    """A source that loses patience sooner than `open_source`'s."""
    begin = partial(connect, url, **timeouts)
    source = ReconnectingSource(begin, begin(), tell)
    try:
        yield source
    finally:
        source.close()


def read_until(source, wanted):
    """Read up to and with the first frame that is wanted; returns them all."""
    frames = [source.read()]
    while not wanted(frames[-1]):
        frames.append(source.read())
    return frames


def is_lost(frame):
    return frame.lost


def is_there(frame):
    return not frame.lost


def port_of(address):
    return int(address.rpartition(":")[2])


@pytest.mark.rtsp
def test_a_camera_that_is_restarted_comes_back_with_growing_numbers():
    told = []
    with rtsp_camera.serve() as (server, address):
        source = open_source(f"{address.replace('//', '//user:secret@')}/live", tell=told.append)
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
    assert (source.lost, source.losses, source.gives) == ("", 1, "H264 160x120 at 30 fps")
    assert [line.removeprefix(f"{address}/live ").split(":")[0] for line in told[:2]] == [
        "gives H264 320x240 at 30 fps",
        "was lost",
    ]
    assert told[2].startswith(f"{address}/live is back after ")
    assert len(told) == 3
    assert "secret" not in "".join(told) + "".join(frame.lost + frame.name for frame in frames + waiting)


@pytest.mark.rtsp
def test_packets_that_are_late_are_no_loss():
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
def test_a_network_that_holds_everything_back_is_a_loss_until_it_lets_go():
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


def test_a_picture_that_changes_its_size_is_drawn_and_fits_into_the_video(http, model, tmp_path):
    from camrt.runtime.sinks import VideoSink
    from support.videos import read_video

    sizes = []
    source = open_source(f"{http}/grows")
    pipeline = Pipeline(model, source, renderer(), [VideoSink(tmp_path / "out.mp4", fps=None)])

    def on_frame(rendered):
        sizes.append(rendered.image.shape)
        if sizes.count((96, 72, 3)) == 5:
            pipeline.stop()

    pipeline.run(on_frame)
    assert list(dict.fromkeys(sizes)) == [(48, 64, 3), (96, 72, 3)]
    frames, _ = read_video(tmp_path / "out.mp4")
    assert len(frames) == len(sizes)
    assert {frame.shape for frame in frames} == {(48, 64, 3)}
    assert frames[-1][:, :10].mean() < 10 < frames[-1][:, 30:34].mean()  # black bars beside what is drawn


def test_an_only_source_that_does_not_answer_is_an_error_at_once():
    with pytest.raises(SourceError, match="connection refused"):
        open_source(f"rtsp://127.0.0.1:{free_port()}/live")


@pytest.mark.parametrize("text", ["rtsp://127.0.0.1:{port}/live", "97"])
def test_one_of_several_is_lost_from_the_start_and_shown_black(text):
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
def test_one_of_several_that_is_switched_on_later_is_shown():
    port = free_port()
    source = open_source(f"rtsp://127.0.0.1:{port}/live", patient=True)
    read_until(source, is_lost)
    with rtsp_camera.serve(port):
        frame = read_until(source, is_there)[-1]
    source.close()
    assert frame.image.shape == (240, 320, 3)
    assert source.losses == 0


def test_a_file_over_http_is_still_a_file_and_ends(http):
    for patient in (False, True):
        source = open_source(f"{http}/video.mp4", patient=patient)
        assert (source.live, source.frame_count) == (False, 336)
        source.close()


def test_a_file_that_answers_late_is_shown_and_ends(http):
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


def test_a_wait_doubles_up_to_its_longest_and_differs_by_chance():
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


def test_a_camera_that_was_there_for_a_while_is_tried_soon_again(http, monkeypatch):
    monkeypatch.setattr(reconnecting, "_STEADY_S", 0.2)
    with camera(f"{http}/short") as source:
        frames = read_until(source, lambda _: source.losses == 6)
    waits = {frame.lost.partition("; ")[2] for frame in frames if frame.lost}
    assert waits <= {"trying again in 1 s", "trying now"}


def test_a_loss_that_comes_just_after_the_time_was_up_is_one(http):
    """The thread of a connection may end between two looks at it."""

    class Late(CaptureThread):
        looked = False

        def read(self, timeout_s=None):
            if not self.looked:
                self.looked = True
                while not self.ended:
                    time.sleep(0.01)
                return None  # as if the time had been up before
            return super().read(timeout_s)

    def fail():
        raise SourceError("camera was lost")

    def begin():
        return Late("camera", fail, open_timeout_s=1.0, read_timeout_s=1.0)

    source = ReconnectingSource(begin, begin(), lambda line: None)
    assert source.read().lost.startswith("was lost; trying again")
    source.close()


@contextmanager
def silent():
    """A server that takes every connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield f"rtsp://127.0.0.1:{server.getsockname()[1]}/live"


@pytest.mark.parametrize("while_it", ["opens", "reads", "backs off"])
def test_close_ends_whatever_it_waits_for(http, while_it):
    with silent() as address:
        urls = {"opens": address, "reads": f"{http}/stalls", "backs off": f"rtsp://127.0.0.1:{free_port()}/live"}
        source = open_source(urls[while_it], patient=True)
        arrived = threading.Event()
        wanted = {"opens": "trying now", "reads": "", "backs off": "trying again in 4 s"}[while_it]

        def read():
            while (frame := source.read()) is not None:
                if wanted in frame.lost and (while_it != "reads" or frame.index >= http_camera.FRAMES - 1):
                    arrived.set()

        reader = threading.Thread(target=read)
        reader.start()
        assert arrived.wait(20)
        time.sleep(0.3)  # now it is in the midst of it
        start = time.monotonic()
        source.close()
        reader.join(2)
        assert time.monotonic() - start < 2
        assert not reader.is_alive()
        source.close()
        assert source.read() is None


def test_connections_to_a_camera_that_never_answers_do_not_pile_up():
    with silent() as address, camera(address, open_timeout_s=1.0, read_timeout_s=1.0) as source:
        for _ in range(6):
            assert source.read().lost
            assert sum(thread.name == f"read {source.name}" for thread in threading.enumerate()) <= 1


def renderer():
    return Renderer(View(OverlayStyle()), hud=True, provider="cpu", threads=1)


def test_a_dead_camera_does_not_stop_another(http, model):
    seen = {"dead": [], "alive": []}
    with silent() as address:
        pipelines = {
            "dead": Pipeline(model, open_source(address, patient=True), renderer(), []),
            "alive": Pipeline(model, open_source(f"{http}/endless"), renderer(), []),
        }
        threads = [
            threading.Thread(target=pipeline.run, args=(seen[name].append,)) for name, pipeline in pipelines.items()
        ]
        for thread in threads:
            thread.start()
        while len(seen["alive"]) < 50 or len(seen["dead"]) < 2:
            time.sleep(0.05)
        start = time.monotonic()
        for pipeline in pipelines.values():
            pipeline.stop()
        for thread in threads:
            thread.join(2)
        assert time.monotonic() - start < 2
        assert not any(thread.is_alive() for thread in threads)
    assert all(rendered.result is None for rendered in seen["dead"])
    assert all(rendered.result is not None for rendered in seen["alive"])


@pytest.mark.rtsp
def test_what_is_shown_after_a_loss_was_seen_after_it(model):
    seen = []
    with rtsp_camera.serve() as (server, address):
        source = open_source(f"{address}/live")
        pipeline = Pipeline(model, source, renderer(), [])
        restarted = threading.Event()

        def on_frame(rendered):
            seen.append((rendered.frame.index, rendered.result_index, rendered.frame.lost))
            if len(seen) == 10:
                server.kill()
            if rendered.frame.lost:
                restarted.set()
            elif restarted.is_set():
                pipeline.stop()

        thread = threading.Thread(target=pipeline.run, args=(on_frame,))
        thread.start()
        assert restarted.wait(20)
    with rtsp_camera.serve(port_of(address)):
        thread.join(40)
        assert not thread.is_alive()
    lost_at = max(index for index, _, lost in seen if lost)
    index, result_index, lost = seen[-1]
    assert not lost
    assert lost_at < result_index <= index
    assert np.all(np.diff([index for index, *_ in seen]) > 0)
