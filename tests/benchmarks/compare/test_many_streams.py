"""Streams from memory, H.264 files and RTSP are measured together, and the camera of the benchmark is a real one."""

import av
import numpy as np
import pytest

from camrt.benchmarks.compare import many_streams, rtsp_camera
from camrt.benchmarks.compare.h264_video import FPS, SECONDS, write_camera_video
from camrt.benchmarks.compare.many_streams import EndlessVideo
from camrt.benchmarks.compare.stage_cores import STAGES
from camrt.benchmarks.report import tables
from camrt.runtime.inference.model import load
from camrt.runtime.sources import open_source
from support.command import succeeds
from support.video_files import encode, scene


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "camera.mp4"
    return path, write_camera_video(path, 320, 180)


def frames_of(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


def test_the_video_of_a_camera_is_h264_without_later_references(video):
    path, megabits = video
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height, stream.average_rate) == ("h264", 320, 180, FPS)
        packets = [packet for packet in container.demux(stream) if packet.size]
    assert len(packets) == FPS * SECONDS
    assert all(packet.pts == packet.dts for packet in packets)
    assert megabits == pytest.approx(path.stat().st_size * 8 / SECONDS / 1e6)


@pytest.mark.process
def test_the_camera_sends_every_frame_of_the_video_in_order_again_and_again(video):
    path, _ = video
    with av.open(str(path)) as container:
        expected = [frame.to_ndarray(format="gray")[::8, ::8] for frame in container.decode(video=0)]
    with rtsp_camera.rtsp_camera(path) as address, av.open(address, options={"rtsp_flags": "prefer_tcp"}) as stream:
        frames = stream.decode(video=0)
        received = [next(frames).to_ndarray(format="gray")[::8, ::8] for _ in range(len(expected) + 30)]
    places = [next(n for n, one in enumerate(expected) if np.array_equal(one, frame)) for frame in received]
    assert places == [(places[0] + step) % len(expected) for step in range(len(places))]


@pytest.mark.process
def test_several_clients_are_served_at_once(video):
    path, _ = video
    with rtsp_camera.rtsp_camera(path) as address:
        sources = [open_source(address) for _ in range(3)]
        for source in sources:
            last = source.read()
            while last.index < FPS:
                last = source.read()
                assert not last.lost
            assert last.image.shape == (180, 320, 3)
        for source in sources:
            source.close()


@pytest.mark.parametrize("size", [1, 1400, 1401, 5000])
def test_a_unit_is_whole_after_its_packets_are_put_together(size):
    unit = bytes([0x65, *np.random.default_rng(0).integers(0, 256, size - 1, np.uint8)])
    packets = rtsp_camera.rtp_packets([b"\x67short", unit], 65535, 2**32 + 5)
    assert [int.from_bytes(packet[2:4], "big") for packet in packets] == [65535, *range(len(packets) - 1)]
    assert {int.from_bytes(packet[4:8], "big") for packet in packets} == {5}
    assert [packet[1] >> 7 for packet in packets] == [0] * (len(packets) - 1) + [1]
    payloads = [packet[12:] for packet in packets[1:]]
    if len(payloads) == 1:
        assert payloads[0] == unit
    else:
        assert all(payload[0] & 0x1F == 28 for payload in payloads)
        assert [payload[1] >> 6 for payload in payloads] == [2, *[0] * (len(payloads) - 2), 1]
        header = payloads[0][0] & 0xE0 | payloads[0][1] & 0x1F
        assert bytes([header]) + b"".join(payload[2:] for payload in payloads) == unit


def test_an_endless_video_begins_again_and_counts_on(tmp_path):
    path = encode(tmp_path / "a.mp4", [scene(number) for number in range(5)])
    source = EndlessVideo(path)
    frames = [source.read() for _ in range(12)]
    assert [frame.index for frame in frames] == list(range(12))
    for number in range(7):
        np.testing.assert_array_equal(frames[number].image, frames[number + 5].image)
    source.close()
    assert source.read() is None


@pytest.mark.process
@pytest.mark.slow
def test_each_kind_of_stream_is_measured_and_becomes_a_row(shared_data, tmp_path):
    succeeds("attach", shared_data / "models" / "squeezenet11_caffe.onnx", "-o", tmp_path / "m.onnx")
    model = load(tmp_path / "m.onnx", provider="cpu", threads=2)
    rows = many_streams.measure(model, list(many_streams.KINDS), [1, 3], 0.3)
    assert [(row["kind"], row["cameras"]) for row in rows] == [(k, n) for k in many_streams.KINDS for n in (1, 3)]
    table = tables.streams(rows)
    for row in rows:
        assert row["fps"] > 0
        assert row["throughput"] > 0
        assert set(row["cores"]) == set(STAGES)
        assert sum(row["cores"].values()) > 0
        assert (row["mbit_s"] > 0) == (not row["kind"].startswith("memory"))
        assert f"| {row['kind']}" in table
