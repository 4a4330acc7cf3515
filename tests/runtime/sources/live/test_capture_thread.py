"""One connection to a network camera: newest frame, loss, end, and bounded waits."""

import io
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from camrt.errors import SourceError
from camrt.runtime.sources import open_source
from camrt.runtime.sources.live.capture_thread import CaptureThread
from camrt.runtime.sources.network.url import redact
from support import hls_camera, http_camera, rtsp_camera
from support.connections import connect
from support.needs import environment


@pytest.fixture(scope="module")
def http(shared_data):
    with http_camera.serve(shared_data / "videos" / "oc_dog.mp4") as address:
        yield address


@pytest.fixture
def rtsp():
    """A camera of 320x240 at 30 fps: ``(process, address)``."""
    with rtsp_camera.serve() as camera:
        yield camera


def read_all(source):
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    return frames


def read_until_lost(source):
    """Return the frames, and the reason of the loss."""
    frames = []
    try:
        while True:
            frames.append(source.read())
    except SourceError as error:
        return frames, str(error)


def test_an_http_camera_is_live_and_lost_when_its_stream_ends(http):
    before = time.time()
    source = connect(f"{http}/short")
    frames, reason = read_until_lost(source)
    source.close()
    assert (source.live, source.frame_count, source.mode) == (True, None, "MJPG 64x48")
    assert reason == f"{redact(f'{http}/short')} was lost: it ended after 30 frames"
    assert len(frames) > 1
    assert frames[-1].index < http_camera.FRAMES
    assert before <= frames[0].time_s <= frames[-1].time_s <= time.time()
    for frame in frames:
        assert frame.image.shape == (48, 64, 3)
        assert frame.image.mean() == pytest.approx(http_camera.STEP * frame.index, abs=4)


def test_a_slow_reader_gets_the_newest_frame(http):
    source = open_source(f"{http}/endless")
    first = source.read()
    time.sleep(0.5)
    second = source.read()
    source.close()
    assert second.index - first.index > 5


def test_an_http_file_gives_every_frame_in_order(http):
    source = open_source(f"{http}/video.mp4")
    assert (source.live, source.frame_count, source.fps) == (False, 336, pytest.approx(29.97, abs=0.01))
    frames = read_all(source)
    source.close()
    assert [frame.index for frame in frames] == list(range(336))
    assert frames[-1].time_s == pytest.approx(11.18, abs=0.01)
    assert source.problems == []


def test_a_damaged_jpeg_is_skipped(http):
    source = connect(f"{http}/damaged")
    frames = [source.read() for _ in range(5)]
    source.close()
    for frame in frames:
        assert frame.image.mean() == pytest.approx(http_camera.STEP * (2 * frame.index % http_camera.FRAMES), abs=4)


def test_each_jpeg_keeps_its_own_size(http):
    source = connect(f"{http}/grows")
    frames = [source.read()]
    while frames[-1].image.shape == (48, 64, 3):
        frames.append(source.read())
    source.close()
    assert frames[-1].image.shape == (96, 72, 3)


def test_a_silent_stream_is_lost(http):
    source = connect(f"{http}/stalls?token=abc", read_timeout_s=1.0)
    _, reason = read_until_lost(source)
    source.close()
    assert reason == f"{redact(f'{http}/stalls?token=abc')} was lost: no frame for 1 s after 30 frames"


def test_a_stream_with_only_damaged_jpegs_is_lost(http):
    source = connect(f"{http}/breaks", read_timeout_s=1.0)
    frames, reason = read_until_lost(source)
    source.close()
    assert frames
    assert reason == f"{redact(f'{http}/breaks')} was lost: no frame for 1 s after 30 frames"


def test_an_unforeseen_failure_is_an_error_and_not_an_end():
    def fail():
        raise ValueError("unforeseen")

    source = CaptureThread("camera", fail, open_timeout_s=1.0, read_timeout_s=1.0)
    with pytest.raises(SourceError, match=r"^camera failed: ValueError: unforeseen$"):
        source.wait()
    with pytest.raises(SourceError):
        source.read()
    assert source.ended


def test_close_ends_a_waiting_read(http):
    source = connect(f"{http}/stalls", read_timeout_s=600.0)
    ended = threading.Event()
    reader = threading.Thread(target=lambda: (read_all(source), ended.set()))
    reader.start()
    assert not ended.wait(1.5)  # all frames are read by now, and OpenCV waits for the next one
    source.close()
    source.close()
    assert ended.wait(60)
    reader.join()


def test_an_address_that_never_answers_times_out():
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"rtsp://admin:secret@127.0.0.1:{server.getsockname()[1]}/live"
        source = connect(url, open_timeout_s=1.0)
        with pytest.raises(SourceError, match="no answer within 1 s") as caught:
            source.wait()
        assert source.ended
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "reason"), [("/nowhere", "check the path"), ("", "check the path")], ids=["not found", "not a video"]
)
def test_an_address_without_video_is_an_error(http, path, reason):
    with pytest.raises(SourceError, match=reason):
        open_source(http + path)


def test_a_closed_port_is_reported():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(SourceError, match="connection refused"):
        open_source(f"rtsp://127.0.0.1:{port}/live")


def test_a_malformed_host_name_is_reported_at_once():
    with pytest.raises(SourceError, match="the host name is unknown"):
        open_source("rtsp://camera..local/live")


@pytest.mark.process
@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_ctrl_c_ends_the_wait_for_an_address_that_does_not_answer(scheme):
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"{scheme}://127.0.0.1:{server.getsockname()[1]}/live"
        script = f"from camrt.runtime.sources import registry\nregistry.OPEN_S = 600.0\nregistry.open_source({url!r})"
        with subprocess.Popen(
            [sys.executable, "-c", script], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as waiting:
            server.settimeout(60)
            connection, _ = server.accept()  # now it waits for an answer
            waiting.send_signal(signal.SIGINT)
            _, errors = waiting.communicate(timeout=60)
            connection.close()
    assert waiting.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in errors


HIDE_PYAV = "import sys; sys.modules['av'] = None"


@pytest.mark.process
@pytest.mark.parametrize("hide", ["", HIDE_PYAV], ids=["PyAV", "OpenCV"])
def test_a_process_exits_cleanly_while_a_decoder_still_waits(hide):
    def stall(server):
        connection, _ = server.accept()
        with connection, suppress(OSError):
            connection.sendall(encoded_video())
            connection.recv(1)  # until the process has ended

    script = f"""{hide}
from camrt.runtime.sources import open_source
source = open_source({{!r}})
for _ in range(3): source.read()
source.close()
print("closed")
"""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=stall, args=(server,))
        thread.start()
        url = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        command = [sys.executable, "-c", script.format(url)]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120, check=False)
        thread.join()
    assert (done.returncode, done.stdout, done.stderr) == (0, "closed\n", "")


def encoded_video():
    """Return a few seconds of MPEG-TS."""
    file = io.BytesIO()
    with av.open(file, "w", "mpegts") as output:
        stream = output.add_stream("libx264", 30, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 128, 64, "yuv420p", 15
        for number in range(240):
            frame = hls_camera.frame_with(number % 256)
            frame.pts, frame.time_base = number, Fraction(1, 30)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return file.getvalue()


@pytest.mark.process
def test_a_process_exits_cleanly_while_a_picture_is_awaited(http):
    script = f"""
from camrt.runtime.sources import open_source
source = open_source("{http}/stalls")
while source.read().index < {http_camera.FRAMES - 5}: pass
source.close()
print("closed")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "closed\n", "")


@pytest.mark.rtsp
def test_an_rtsp_camera_is_live(rtsp, decoder):
    _, address = rtsp
    source = open_source(f"{address.replace('//', '//user:secret@')}/live")
    assert source.fps == 30.0
    frames = [source.read() for _ in range(20)]
    source.close()
    assert (source.live, source.fps, source.frame_count, source.name) == (True, 30.0, None, redact(f"{address}/live"))
    assert {frame.image.shape for frame in frames} == {(240, 320, 3)}
    indices = [frame.index for frame in frames]
    assert indices == sorted(set(indices))
    assert frames[-1].image.std() > 10  # the test image, not a grey one


@pytest.mark.rtsp
@pytest.mark.input_kind(
    "camera or stream", "interlaced RTSP", "the same scene, progressive", "equal within 1 grey level"
)
def test_an_interlaced_rtsp_camera_is_seen_or_refused(rtsp, decoder):
    _, address = rtsp
    if decoder == "OpenCV" and tuple(map(int, cv2.__version__.split(".")[:2])) >= (4, 13):
        reason = r"cannot convert frame 0 of this H264 video, .*; pip install 'camrt\[video\]' reads it"
        with pytest.raises(SourceError, match=reason):
            open_source(f"{address}/interlaced")
        return
    images = {}
    for path in ("live", "interlaced"):
        source = open_source(f"{address}/{path}")
        images[path] = [source.read().image for _ in range(5)][-1].astype(int)
        source.close()
    # The last quarter of the scene is noise.
    assert np.abs(images["live"] - images["interlaced"])[:160].mean() < 1


@pytest.mark.rtsp
def test_an_unknown_rtsp_path_is_an_error(rtsp):
    _, address = rtsp
    with pytest.raises(SourceError, match=r"/#[0-9a-f]{4} cannot be opened: the server answered"):
        open_source(f"{address}/nowhere")


@pytest.mark.rtsp
def test_a_frozen_camera_is_lost(rtsp):
    server, address = rtsp
    source = connect(f"{address}/live", read_timeout_s=1.0)
    source.read()
    server.send_signal(signal.SIGSTOP)
    assert "was lost: no frame for" in read_until_lost(source)[1]
    source.close()
    server.send_signal(signal.SIGCONT)


@pytest.mark.rtsp
def test_a_killed_camera_is_lost(rtsp):
    server, address = rtsp
    source = connect(f"{address}/live")
    source.read()
    server.kill()
    assert "was lost" in read_until_lost(source)[1]
    source.close()
