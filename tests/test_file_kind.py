"""Files are recognised by their first bytes, whatever their name is."""

import io

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from camrt.file_kind import _IMAGES, _VIDEOS, describe_foreign_file, kind_of, kind_of_bytes
from support.overlays import gradient_image


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "PPM", "JPEG2000", "ICO", "XBM"])
def test_images_are_recognised(kind):
    image, buffer = Image.new("1" if kind == "XBM" else "RGB", (16, 16)), io.BytesIO()
    image.save(buffer, kind)
    assert kind_of_bytes(buffer.getvalue()[:4096]).kind == "image"


def video(container, codec="mpeg4"):
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(30):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(gradient_image(), format="bgr24")))
        output.mux(stream.encode(None))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("mp4", "mpeg4"),
        ("mov", "mpeg4"),
        ("avi", "mpeg4"),
        ("matroska", "mpeg4"),
        ("webm", "libvpx"),
        ("mpegts", "mpeg2video"),
        ("vob", "mpeg2video"),
        ("mpeg", "mpeg1video"),
        ("asf", "mpeg4"),
        ("flv", "flv"),
        ("h264", "libx264"),
        ("hevc", "libx265"),
        ("m4v", "mpeg4"),
        ("ivf", "libvpx"),
    ],
)
@pytest.mark.input_kind("folder", "videos under any name: MTS, VOB, ASF, no suffix", "PyAV's muxers", "recognised")
def test_videos_are_recognised(container, codec):
    kind = kind_of_bytes(video(container, codec)[:4096])
    assert kind.kind == "video", kind


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "AVIF", "GIF"])
def test_animations_count_as_videos(kind):
    frames, buffer = [Image.new("RGB", (16, 12), (90 * number, 0, 0)) for number in range(3)], io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], duration=100)
    found = kind_of_bytes(buffer.getvalue()[:4096])
    assert (found.kind, found.animated) == ("video", kind != "GIF")


def test_a_series_of_jpegs_is_a_video_by_its_suffix(tmp_path):
    data = cv2.imencode(".jpg", gradient_image())[1].tobytes()
    for name, kind in {"a.mjpeg": "video", "a.jpg": "image", "a": "image"}.items():
        (tmp_path / name).write_bytes(data * 3)
        assert kind_of(tmp_path / name).kind == kind


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"", "empty (0 bytes)"),
        (b"hello\n" * 900, "a text file"),
        ("Grüße, 猫\n".encode() * 500, "a text file"),
        (b'{"a": 1}', "a text file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer, not the file itself"),
        (b"\n<!doctype html>", "a web page, as from a download that needs a login"),
        (b"<?xml version='1.0'?><svg xmlns=''/>", "an SVG drawing"),
        (b"PK\x03\x04" + bytes(99), "a ZIP archive or a torch checkpoint"),
        (b"%PDF-1.7\n\x80", "a PDF document"),
        (b"ID3\x03" + bytes(99), "an audio file"),
        (b"RIFF\0\0\0\0WAVEfmt ", "an audio file"),
        (np.random.default_rng(0).bytes(4096), "a file of an unknown kind"),
        (b"\x08\x09\x12\x07pytorch", "a file of an unknown kind"),
    ],
)
def test_other_files_are_named(data, name):
    kind = kind_of_bytes(data[:4096])
    assert (kind.kind, kind.name) == ("other", name)


@given(st.binary(max_size=40), st.sampled_from([magic for _, magic, _ in (*_IMAGES, *_VIDEOS)]))
def test_a_short_or_random_file_has_a_kind(data, magic):
    for head in (data, magic + data, magic[: len(data)], b"\0\0\x01" + data, b"\0\0\0\x20ftyp" + data):
        assert kind_of_bytes(head).kind in ("image", "video", "other")


def test_camera_raw_files_are_told_from_tiff():
    tiff = cv2.imencode(".tif", gradient_image())[1].tobytes()
    assert kind_of_bytes(tiff).name == "TIFF"
    dng = b"II*\0\x08\0\0\0" + b"\x01\0" + b"\x12\xc6\x01\0\x04\0\0\0\x01\x04\0\0" + bytes(4)
    assert kind_of_bytes(dng).name == "camera raw"
    assert kind_of_bytes(b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom").name == "camera raw"


def test_a_file_that_is_no_model_is_described_with_advice(tmp_path):
    path = tmp_path / "model.onnx"
    for data, text in {
        b"\x89PNG\r\n\x1a\n": "it is an image (PNG): name the .onnx file",
        b"hello": "it is a text file: name the .onnx file",
        b"PK\x03\x04": "it is a ZIP archive or a torch checkpoint: unzip it, or make a model file with camrt export",
        b"": "it is empty: copy or export it again",
        b"version https://git-lfs.github.com/spec/v1": "it is a Git LFS pointer, not the file itself: git lfs pull",
        b"\x08\x09\x12\x07pytorch": None,
    }.items():
        path.write_bytes(data)
        assert describe_foreign_file(path) == text
