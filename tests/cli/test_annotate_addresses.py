"""``camrt annotate`` takes addresses of a picture or a video, and refuses live streams."""

import cv2
import pytest

from camrt.runtime.sources.network.url import redact
from support import http_camera, picture_server
from support.command import refusal, succeeds
from support.videos import read_video

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def http(shared_data):
    with http_camera.serve(shared_data / "videos" / "oc_dog.mp4") as address:
        yield address


@pytest.fixture
def snapshot():
    body = picture_server.picture(size=(320, 240))
    with picture_server.serving(lambda server, request: [picture_server.answer(body)]) as server:
        yield server


def test_addresses_and_files_are_drawn_in_one_run(mobilenet, photo, http, snapshot, tmp_path):
    address = f"http://admin:secret@{snapshot.address}"
    inputs = [
        f"{address}/cgi-bin/image?channel=1",
        f"{http}/video.mp4?token=secret",
        f"{address}/a.jpg",
        photo,
        address,
    ]
    succeeds("annotate", mobilenet, *inputs, "-o", "out", "--every", "16", cwd=tmp_path)
    host = snapshot.address.replace(":", "_")
    drawn = {path.name: path for path in (tmp_path / "out").iterdir()}
    hashed = redact(inputs[0]).partition("#")[2]
    assert {f"{host}_{hashed}.png", "video.mp4", "a.jpg", f"{host}.png"} < set(drawn)
    assert len(drawn) == 5
    assert len(snapshot.requests) == 3  # one for each picture
    for name in (f"{host}_{hashed}.png", "a.jpg"):
        assert cv2.imread(str(drawn[name])).shape == (240, 320, 3)
    frames, fps = read_video(drawn["video.mp4"])
    assert (len(frames), round(fps, 2)) == (21, round(29.97 / 16, 2))


def test_equal_names_get_a_number(mobilenet, snapshot, tmp_path):
    address = f"http://{snapshot.address}/a.jpg"
    succeeds("annotate", mobilenet, address, f"{address}?channel=2", "-o", "out", cwd=tmp_path)
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"a.jpg", "a-2.jpg"}


def test_a_single_address_may_become_a_file(mobilenet, http, snapshot, tmp_path):
    address = f"http://{snapshot.address}/image"
    succeeds("annotate", mobilenet, address, "-o", "seen.png", cwd=tmp_path)
    assert cv2.imread(str(tmp_path / "seen.png")).shape == (240, 320, 3)
    error = refusal("annotate", mobilenet, address, "-o", "seen.png", status=2, cwd=tmp_path)
    assert "seen.png exists already; --overwrite replaces it" in error
    error = refusal("annotate", mobilenet, address, "-o", "seen.mp4", status=2, cwd=tmp_path)
    assert "a single picture becomes a file that ends in" in error
    error = refusal("annotate", mobilenet, f"{http}/video.mp4", "-o", "seen.png", status=2, cwd=tmp_path)
    assert "seen.png: a single video becomes a file that ends in" in error


@pytest.mark.input_kind("camera or stream", "live stream for annotate", "its lack of an end", "refused: use live")
def test_a_live_stream_is_refused_with_the_way_out(mobilenet, http, tmp_path):
    address = f"{http}/endless?token=secret"
    error = refusal("annotate", mobilenet, address, "-o", "out", status=2, cwd=tmp_path)
    assert f"{redact(address)} is a live stream, which has no end; use camrt live with --source, --frames" in error
    error = refusal("annotate", mobilenet, address, "-o", "out", "--resume", status=2, cwd=tmp_path)
    assert "--resume keeps files" in error
    assert not any(tmp_path.iterdir())


def test_an_address_that_cannot_be_read_is_an_error(mobilenet, http, tmp_path):
    address = f"{http}/nowhere"
    error = refusal("annotate", mobilenet, address, "-o", "out", status=1, cwd=tmp_path)
    assert f"{redact(address)} cannot be opened: the server answered 404" in error
    assert not any(tmp_path.iterdir())
