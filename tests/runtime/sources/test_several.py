"""Several sources open at once, under unique names; if one fails, all are closed."""

import signal
import socket
import subprocess
import sys
import threading

import pytest

from camrt.errors import SourceError, UsageError
from camrt.runtime.sources import open_sources
from camrt.runtime.sources.network.url import redact
from support import http_camera
from support.desktop import eventually
from support.needs import environment


@pytest.fixture(scope="module")
def http(shared_data):
    with http_camera.serve(shared_data / "videos" / "oc_dog.mp4") as address:
        yield address


@pytest.fixture
def silent():
    """The address of a server that accepts every connection and sends nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/live"


def close(sources):
    for source in sources:
        source.close()


def readers(name):
    """Return the threads that read a camera or stream of this host."""
    host = redact(name).partition("/#")[0]
    return [thread for thread in threading.enumerate() if thread.name.startswith(f"read {host}")]


def test_sources_come_back_in_the_order_of_their_texts(http, shared_data):
    video = str(shared_data / "videos" / "cockatoo.mp4")
    texts = [f"{http}/endless", video, "synthetic", str(shared_data / "images_cls")]
    sources = open_sources(texts)
    assert [source.name for source in sources] == [redact(texts[0]), *texts[1:]]
    assert [source.live for source in sources] == [True, False, True, False]
    close(sources)


def test_no_source_is_no_error():
    assert open_sources([]) == []


def test_equal_sources_have_their_own_name_in_frames_and_lines(http):
    lines = []
    camera = f"{http}/short"
    sources = open_sources(["synthetic", camera, "synthetic", camera], tell=lines.append)
    camera = redact(camera)
    names = ["synthetic", camera, "synthetic (2)", f"{camera} (2)"]
    assert [source.name for source in sources] == names
    assert [source.read().name for source in sources] == names
    frame = sources[3].read()
    while not frame.lost:
        frame = sources[3].read()
    close(sources)
    assert frame.name == f"{camera} (2)"
    assert frame.lost.startswith("was lost: it ended after 30 frames; ")
    assert {f"{name} gives MJPG 64x48" for name in (camera, f"{camera} (2)")} <= set(lines)
    assert any(line.startswith(f"{camera} (2) was lost: ") for line in lines)


def test_videos_of_the_same_name_are_told_apart_in_their_frames(shared_data):
    video = str(shared_data / "videos" / "cockatoo.mp4")
    sources = open_sources([video, video])
    assert [source.read().name for source in sources] == [video, f"{video} (2)"]
    close(sources)


def test_passwords_make_no_difference_between_names(silent):
    texts = [silent.replace("//", f"//user:{password}@") for password in ("one", "two")]
    sources = open_sources(texts)
    assert [source.name for source in sources] == [redact(silent), f"{redact(silent)} (2)"]
    close(sources)


def test_silent_sources_of_several_count_as_lost(silent):
    sources = open_sources([silent, "synthetic"])
    assert [bool(source.read().lost) for source in sources] == [True, False]
    close(sources)


def test_sources_are_opened_at_the_same_time(silent):
    """Opened one after the other, the first of six would time out before the last one starts."""
    sources = []
    opening = threading.Thread(target=lambda: sources.extend(open_sources([silent] * 6)))
    opening.start()
    assert eventually(lambda: len(readers(silent)) == 6)
    opening.join()
    close(sources)


def test_a_single_silent_source_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(SourceError, match="connection refused"):
        open_sources([f"rtsp://127.0.0.1:{port}/live"])


def test_a_source_that_fails_closes_those_that_opened(http, tmp_path):
    (tmp_path / "film.mp4").write_text("not a video")
    with pytest.raises(SourceError, match=r"film\.mp4 is a text file, neither an image nor a video"):
        open_sources([f"{http}/endless", str(tmp_path / "film.mp4"), f"{http}/endless"])
    assert eventually(lambda: not readers(http))


def test_a_text_that_is_no_source_opens_none(silent):
    with pytest.raises(UsageError, match="is a text file, neither an image nor a video"):
        open_sources([silent, __file__])
    assert not readers(silent)


@pytest.mark.process
def test_ctrl_c_while_sources_open_ends_the_process_at_once():
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/live"
        script = (
            "from camrt.runtime.sources import open_sources, registry\n"
            f"registry.OPEN_S = 600.0\nopen_sources([{url!r}])"
        )
        with subprocess.Popen(
            [sys.executable, "-c", script], env=environment(), stderr=subprocess.PIPE, text=True
        ) as waiting:
            server.settimeout(60)
            connection, _ = server.accept()  # now it waits for an answer
            waiting.send_signal(signal.SIGINT)
            _, errors = waiting.communicate(timeout=60)
            connection.close()
    assert waiting.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in errors
