"""Pictures are found in streams that browsers show, however the parts are framed and the bytes arrive."""

import io
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from camrt.errors import SourceError
from camrt.runtime.sources.network import picture_stream
from camrt.runtime.sources.network.picture_stream import PictureStream


def encoded(kind="JPEG", seed=0, size=(40, 32), **options):
    noise = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, kind, **options)
    return file.getvalue()


def with_thumbnail(jpeg):
    """Return a JPEG whose EXIF segment holds another JPEG."""
    content = b"Exif\0\0" + encoded(seed=9, size=(8, 8))
    return jpeg[:2] + b"\xff\xe1" + (len(content) + 2).to_bytes(2) + content + jpeg[2:]


JPEGS = [
    encoded(quality=95),
    encoded(seed=1, progressive=True),
    encoded(seed=2, restart_marker_blocks=2),
    with_thumbnail(encoded(seed=3)),
    encoded(seed=4, optimize=True, size=(3, 5)),
]


class Answer:
    """A body that arrives in blocks."""

    content_type, length = "", None

    def __init__(self, body, size):
        self._blocks = [body[start : start + size] for start in range(0, len(body), size)]

    def read(self, timeout_s):
        return self._blocks.pop(0) if self._blocks else b""


def pictures_of(body, size=7, head=b""):
    stream = PictureStream(Answer(body, size), head)
    return list(iter(lambda: stream.next(time.monotonic() + 60), None))


def parts(pictures, form):
    """Return pictures as parts; ``{n}`` stands for the length."""
    return b"".join(form.replace("{n}", str(len(data))).encode().replace(b"{p}", data) for data in pictures)


FORMS = {
    "as FFmpeg wants it": "--b\r\nContent-Type: image/jpeg\r\nContent-Length: {n}\r\n\r\n{p}\r\n",
    "image/jpg": "--b\r\nContent-Type: image/jpg\r\nContent-Length: {n}\r\n\r\n{p}\r\n",
    "no boundary before the first picture": "Content-Type: image/jpeg\r\nContent-Length: {n}\r\n\r\n{p}\r\n--b\r\n",
    "ESP32-CAM": "\r\n--123456789000000000000987654321\r\nContent-Type: image/jpeg\r\nContent-Length: {n}\r\n"
    "X-Timestamp: 1.5\r\n\r\n{p}",
    "no Content-Length": "--b\r\nContent-Type: image/jpeg\r\n\r\n{p}\r\n",
    "too short a Content-Length": "--b\r\nContent-Type: image/jpeg\r\nContent-Length: 9\r\n\r\n{p}\r\n",
    "no dashes": "b\r\nContent-Type: image/jpeg\r\nContent-Length: {n}\r\n\r\n{p}\r\n",
    "a colon in the boundary": "--uuid:1\r\nContent-Type: image/jpeg\r\nContent-Length: {n}\r\n\r\n{p}\r\n",
    "no line behind the picture": "--b\r\nContent-Type: image/jpeg\r\nContent-Length: {n}\r\n\r\n{p}",
    "line feeds only": "--b\nContent-type:image/jpeg\ncontent-length:{n}\n\n{p}\n",
    "no headers": "--b\r\n\r\n{p}\r\n",
    "nothing but pictures": "{p}",
    "zeros behind the picture": "--b\r\nContent-Type: image/jpeg\r\n\r\n{p}\0\0\0\0\r\n",
}


@pytest.mark.input_kind(
    "camera or stream", "MJPEG over HTTP with unusual boundaries, types and lengths", "the bytes sent", "equal bytes"
)
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("size", [1, 7, 1 << 16])
def test_every_jpeg_comes_out_as_it_was_sent(form, size):
    body = parts(JPEGS, form)
    found = pictures_of(body, size)
    assert [data.rstrip(b"\r\n") for data in found] == JPEGS
    assert [data.rstrip(b"\r\n") for data in pictures_of(body[300:], size, head=body[:300])] == JPEGS


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP"])
@pytest.mark.parametrize("length", ["Content-Length: {n}\r\n", ""])
def test_pictures_of_other_formats_come_out_as_they_were_sent(kind, length):
    sent = [encoded(kind, seed) for seed in range(3)]
    body = parts(sent, f"--b\r\nContent-Type: image/{kind.lower()}\r\n{length}\r\n{{p}}\r\n") + b"--b--\r\n"
    assert pictures_of(body) == sent


@given(
    st.lists(st.sampled_from(JPEGS), min_size=1, max_size=6), st.sampled_from([*FORMS.values()]), st.integers(1, 999)
)
def test_any_order_of_pictures_in_any_blocks(sent, form, size):
    assert [data.rstrip(b"\r\n") for data in pictures_of(parts(sent, form), size)] == sent


def test_the_picture_behind_a_damaged_one_is_found():
    damaged = JPEGS[0][:2] + bytes(200) + JPEGS[0][-2:]
    for form in FORMS.values():
        found = [data.rstrip(b"\r\n") for data in pictures_of(parts([JPEGS[1], damaged, JPEGS[2]], form))]
        assert [data for data in found if data in JPEGS] == [JPEGS[1], JPEGS[2]]


def test_a_picture_without_its_end_does_not_swallow_the_next_one():
    found = pictures_of(parts([JPEGS[0][:-2], JPEGS[1]], FORMS["no Content-Length"]))
    assert found[0].startswith(JPEGS[0][:-2])
    assert found[1] == JPEGS[1]


def test_a_picture_is_returned_before_any_byte_behind_it_arrives():
    """A camera with one picture in ten seconds would be shown ten seconds late."""

    class Waiting(Answer):
        def read(self, timeout_s):
            if not self._blocks:
                raise TimeoutError
            return super().read(timeout_s)

    for form in (FORMS["as FFmpeg wants it"], FORMS["no Content-Length"], FORMS["nothing but pictures"]):
        body = parts(JPEGS[:1], form).rstrip(b"\r\n")
        assert PictureStream(Waiting(body, 50), b"").next(time.monotonic() + 60) == JPEGS[0]


@given(st.binary(max_size=3000), st.integers(1, 999))
def test_any_bytes_end_without_a_failure(body, size):
    assert len(b"".join(pictures_of(body, size))) <= len(body)
    pictures_of(b"Content-Length: 100\r\n\r\n\xff\xd8\xff" + body, size)


@pytest.mark.parametrize(
    "start",
    [b"Content-Length: 99999999999\r\n\r\nBM", b"\xff\xd8\xff\xda\0\2", b"Content-Type: image/png\r\n\r\n\x89PNG"],
)
def test_memory_is_bounded(start, monkeypatch):
    monkeypatch.setattr(picture_stream, "MOST_BYTES", 1 << 20)

    class Endless(Answer):
        taken = 0

        def read(self, timeout_s):
            self.taken += 1 << 16
            return bytes(1 << 16)

    answer = Endless(b"", 1)
    with pytest.raises(SourceError, match="a picture has more than 1 MB"):
        PictureStream(answer, start).next(time.monotonic() + 60)
    assert answer.taken <= 2 << 20


def test_a_stream_that_is_none_of_pictures_times_out():
    class Endless(Answer):
        def read(self, timeout_s):
            return bytes(1 << 16)

    with pytest.raises(TimeoutError):
        PictureStream(Endless(b"", 1), b"").next(time.monotonic() + 0.3)
