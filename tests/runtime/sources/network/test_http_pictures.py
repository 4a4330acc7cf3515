"""Still pictures are asked for again and again, and MJPEG is read as browsers read it."""

import io
import itertools
import struct
import threading
import time
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from camrt.errors import SourceError
from camrt.runtime.sources import open_source
from camrt.runtime.sources.network import picture_stream
from camrt.runtime.sources.options import SourceOptions
from support.connections import connect
from support.picture_server import answer, picture, serving

SOON = SourceOptions(every_s=0.05)


def still(body, kind="image/jpeg", **options):
    """A server that answers every request with one picture."""
    return serving(lambda server, request: [answer(body, kind, **options)])


def numbered(server, request):
    """Pictures that become brighter with each request."""
    return [answer(picture(8 * (len(server.requests) % 30)))]


def read_until(source, condition):
    frames = [source.read()]
    while not condition(frames[-1]):
        frames.append(source.read())
    return frames


def is_lost(frame):
    return frame.lost


@pytest.mark.input_kind("camera or stream", "still picture at an address, asked for again and again", "Pillow", "equal")
@pytest.mark.parametrize("path", ["/snapshot.jpg", "/cgi-bin/image", "/", "/a.php?channel=1&size=big pic"])
def test_a_still_picture_is_asked_for_again_and_again(path):
    with serving(numbered) as server:
        source = open_source(f"http://{server.address}{path}", options=SOON)
        frames = [source.read() for _ in range(4)]
        source.close()
    assert (source.live, source.frame_count, source.fps, source.mode) == (True, None, 20, "MJPG 64x48 at 20 fps")
    assert not any(frame.lost for frame in frames)
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert [round(frame.image.mean() / 8) for frame in frames] == [1, 2, 3, 4]
    assert set(server.paths) == {path.replace(" ", "%20")}


def test_the_interval_between_two_requests_is_an_option():
    times = []

    def handle(server, request):
        times.append(time.monotonic())
        return [answer(picture())]

    with serving(handle) as server:
        source = open_source(f"http://{server.address}/", options=SourceOptions(every_s=0.3))
        for _ in range(3):
            source.read()
        source.close()
    assert all(later - earlier >= 0.29 for earlier, later in itertools.pairwise(times))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("media", ["image/x-anything", "application/octet-stream", ""])
@pytest.mark.parametrize("length", [True, False])
def test_the_content_decides_and_not_the_media_type(kind, media, length):
    body = picture(kind=kind)
    with still(body, media, length=length) as server:
        source = open_source(f"http://{server.address}/image", options=SOON)
        frames = [source.read() for _ in range(2)]
        source.close()
    expected = np.asarray(Image.open(io.BytesIO(body)).convert("RGB"))[..., ::-1]
    for frame in frames:
        assert np.abs(frame.image.astype(int) - expected).max() <= 1


def test_a_picture_in_chunks_is_read_whole():
    body = picture(kind="PNG")
    chunks = [b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:5], body[5:40], body[40:])]
    head = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
    with serving(lambda server, request: [head, *chunks, b"0\r\n\r\n"]) as server:
        source = open_source(f"http://{server.address}/", options=SOON)
        assert [source.read().image.mean() for _ in range(2)] == [90, 90]
        source.close()


def test_a_server_that_never_ends_its_answer_is_polled_too():
    def handle(server, request):
        yield answer(picture(), length=False)
        server.stopping.wait(60)

    with serving(handle) as server:
        source = connect(f"http://{server.address}/", read_timeout_s=0.5)
        assert [source.read().index for _ in range(3)] == [0, 1, 2]
        source.close()


@pytest.mark.input_kind("camera or stream", "picture over HTTP with EXIF orientation", "Pillow", "upright")
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("multipart", [False, True])
def test_pictures_are_turned_upright(orientation, multipart):
    stored = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    exif = Image.Exif()
    exif[0x112] = orientation
    file = io.BytesIO()
    Image.fromarray(stored).save(file, "JPEG", exif=exif, quality=95)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(file)))[..., ::-1]
    body, kind = file.getvalue(), "image/jpeg"
    if multipart:
        body, kind = b"--b\r\nContent-Type: image/jpeg\r\n\r\n" + body + b"\r\n--b\r\n", "multipart/x-mixed-replace"
    with still(body, kind) as server:
        source = open_source(f"http://{server.address}/", options=SOON)
        image = source.read().image
        source.close()
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).mean() < 1  # two JPEG decoders


@pytest.mark.parametrize(
    ("later", "reason"),
    [
        (answer(b"", status="503 Busy"), "was lost: the server answered 503 Busy; the camera may be busy"),
        (answer(b"", status="404 Not Found"), "was lost: the server answered 404 Not Found; check the path"),
        (b"", "was lost: "),
        (answer(picture())[:-50], "was lost: the picture ended after "),
    ],
)
def test_an_error_after_the_first_picture_is_a_loss_and_the_next_picture_ends_it(later, reason):
    failing = threading.Event()
    failing.set()

    def handle(server, request):
        return [later if len(server.requests) > 2 and failing.is_set() else answer(picture(200))]

    with serving(handle) as server:
        source = open_source(f"http://{server.address}/", options=SOON)
        frames = read_until(source, is_lost)
        failing.clear()
        again = read_until(source, lambda frame: not frame.lost)
        source.close()
    assert [frame.image.mean() for frame in frames] == [200, 200, 200]
    assert frames[-1].lost.startswith(reason)
    assert source.losses == 1
    assert again[-1].image.mean() == 200


def test_silence_after_the_first_picture_is_a_loss():
    def handle(server, request):
        if len(server.requests) == 1:
            yield answer(picture())
        server.stopping.wait(60)

    with serving(handle) as server:
        source = connect(f"http://{server.address}/", read_timeout_s=0.5)
        source.read()
        with pytest.raises(SourceError, match=r"/ was lost: port \d+ did not answer within 0.5 s"):
            source.read()
        source.close()


def test_a_damaged_picture_is_left_out():
    def handle(server, request):
        return [answer(picture() if len(server.requests) != 2 else b"\xff\xd8\xff\xe0" + bytes(500))]

    with serving(handle) as server:
        source = open_source(f"http://{server.address}/", options=SOON)
        frames = [source.read() for _ in range(3)]
        source.close()
    assert not any(frame.lost for frame in frames)


def test_a_wait_of_minutes_ends_with_close():
    with still(picture()) as server:
        source = open_source(f"http://{server.address}/", options=SourceOptions(every_s=600))
        source.read()
        ended = threading.Event()
        reader = threading.Thread(target=lambda: (source.read(), ended.set()))
        reader.start()
        assert not ended.wait(0.5)
        source.close()
        assert ended.wait(60)
        reader.join()
        assert not [
            thread for thread in threading.enumerate() if thread.name.startswith(f"read http://{server.address}")
        ]


@pytest.mark.parametrize("length", [True, False])
def test_a_picture_without_end_is_refused(length, monkeypatch):
    monkeypatch.setattr("camrt.runtime.sources.network.http_pictures.MOST_BYTES", 1 << 20)
    monkeypatch.setattr(picture_stream, "MOST_BYTES", 1 << 20)

    def handle(server, request):
        yield b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n"
        yield b"Content-Length: 99999999\r\n\r\n\x89PNG\r\n\x1a\n" if length else b"\r\n\xff\xd8\xff\xda\0\2"
        while not server.stopping.is_set():
            yield bytes(1 << 16)

    with serving(handle) as server, pytest.raises(SourceError, match=r"cannot be opened: .*more than 1 MB"):
        open_source(f"http://{server.address}/")


def test_a_page_is_no_picture_and_the_error_says_so():
    reason = pytest.raises(SourceError, match=r"the server sent a web page.* \(text/html\)")
    with still(b"<!doctype html><html>sign in</html>", "text/html") as server, reason:
        open_source(f"http://{server.address}/snapshot.jpg")


STREAMS = {
    "no boundary before the first picture": (
        "multipart/x-mixed-replace; boundary=b",
        b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n--b\r\n",
    ),
    "image/jpg": ("multipart/x-mixed-replace; boundary=b", b"--b\r\nContent-Type: image/jpg\r\n\r\n%.0s%b\r\n"),
    "quoted boundary with dashes": (
        'multipart/x-mixed-replace;boundary="--b"',
        b"--b\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n",
    ),
    "wrong media type": ("text/plain", b"--b\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n"),
    "nothing but pictures": ("video/x-motion-jpeg", b"%.0s%b"),
}


@pytest.mark.parametrize(("media", "form"), STREAMS.values(), ids=STREAMS)
def test_a_stream_of_pictures_is_read_on_one_connection(media, form):
    """An ESP32-CAM serves one client at a time."""

    def handle(server, request):
        yield f"HTTP/1.1 200 OK\r\nContent-Type: {media}\r\n\r\n".encode()
        for number in range(1, 10**6):
            body = picture(8 * (number % 30))
            yield form.replace(b"%.0s", b"").replace(b"%b", body) if b"%d" not in form else form % (len(body), body)
            if server.stopping.wait(0.02):
                return

    with serving(handle) as server:
        source = open_source(f"http://{server.address}/")
        frames = [source.read() for _ in range(5)]
        source.close()
        assert len(server.requests) == 1
    assert source.mode == "MJPG 64x48"
    for frame in frames:
        assert not frame.lost
        assert frame.image.mean() == pytest.approx(8 * ((frame.index + 1) % 30), abs=2)


def png_of(width, height):
    """Return a PNG of black pixels; of 20,000 x 20,000 it has 1.2 MB."""
    rows = zlib.compressobj()
    data = b"".join([*(rows.compress(bytes(1 + width)) for _ in range(height)), rows.flush()])

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_a_picture_that_would_fill_the_memory_is_not_decoded():
    body = png_of(20_000, 20_000)
    assert len(body) < 1_000_000
    with still(body, "image/png") as server, pytest.raises(SourceError, match="20000x20000 pixels, more than"):
        open_source(f"http://{server.address}/a.png")


def test_a_camera_keeps_to_the_format_of_its_first_picture():
    pictures = [picture(40), png_of(64, 48), picture(80)]
    with serving(lambda server, request: [answer(pictures[min(len(server.requests), 3) - 1])]) as server:
        source = open_source(f"http://{server.address}/a.jpg", options=SOON)
        frames = [source.read() for _ in range(3)]
        source.close()
    assert [round(frame.image.mean()) for frame in frames] == [40, 80, 80]


def test_a_format_that_no_camera_has_is_refused():
    body = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 1\n\x00\x00\x00\x00"
    with still(body, "image/vnd.radiance") as server, pytest.raises(SourceError, match="cannot be opened: "):
        open_source(f"http://{server.address}/a")
