"""Streams of each scheme are read with both decoders, or refused with the reason."""

import numpy as np
import pytest

from camrt.errors import SourceError, UsageError
from camrt.runtime.sources import open_source
from support.connections import free_port
from support.hls_camera import number_of
from support.picture_server import answer, serving
from support.stream_sender import sending

STREAMS = {
    "udp": ("udp://127.0.0.1:{port}", "udp://127.0.0.1:{port}?pkt_size=1316", "mpegts"),
    "udp with an empty user": ("udp://@127.0.0.1:{port}", "udp://127.0.0.1:{port}?pkt_size=1316", "mpegts"),
    "rtp": ("rtp://127.0.0.1:{port}", "rtp://127.0.0.1:{port}", "rtp_mpegts"),
    "tcp": ("tcp://127.0.0.1:{port}", "tcp://127.0.0.1:{port}?listen", "mpegts"),
    "tcp that listens": ("tcp://127.0.0.1:{port}?listen", "tcp://127.0.0.1:{port}", "mpegts"),
    "rtmp that listens": ("rtmp://127.0.0.1:{port}/live/a?listen", "rtmp://127.0.0.1:{port}/live/a", "flv"),
}


@pytest.mark.process
@pytest.mark.input_kind("camera or stream", "udp, rtp, tcp and rtmp", "the numbers in the frames", "in order")
@pytest.mark.parametrize(("source", "target", "container"), STREAMS.values(), ids=STREAMS)
def test_a_stream_is_read(source, target, container, decoder):
    port = free_port()
    if "rtmp" in source and decoder == "OpenCV":
        with pytest.raises(SourceError, match="only PyAV listens for RTMP: pip install"):
            open_source(source.format(port=port))
        return
    # A listening source must be there before its sender.
    with sending(target.format(port=port), container, delay_s=2.0 if "?listen" in source else 0.0):
        stream = open_source(source.format(port=port), patient=True)
        numbers = []
        while len(numbers) < 10:
            frame = stream.read()
            if not frame.lost:
                numbers.append(number_of(frame.image))
        stream.close()
    steps = np.diff(numbers) % 256
    assert ((steps > 0) & (steps < 128)).all()  # in order; on a busy machine some are left out
    assert stream.mode.startswith("H264 128x64") or container == "flv"


@pytest.mark.parametrize("address", ["udp://239.0.0.1", "rtp://@127.0.0.1", "srt://cam/live", "tcp://cam?listen"])
def test_an_address_that_needs_a_port_says_so(address):
    with pytest.raises(UsageError, match=r"has no port; write \w+://HOST:PORT"):
        open_source(address)


@pytest.mark.input_kind("camera or stream", "SRT", "FFmpeg's wheels", "refused: the decoder has no SRT")
def test_a_scheme_that_the_decoder_lacks_is_refused(decoder):
    with pytest.raises(SourceError, match=r"^srt://127.0.0.1:9/#[0-9a-f]{4} cannot be opened: ") as raised:
        open_source("srt://127.0.0.1:9?passphrase=secret")
    assert "use udp:// or rtsp://" in str(raised.value)


@pytest.mark.input_kind("camera or stream", "DASH", "FFmpeg's wheels", "refused: use HLS or RTSP")
@pytest.mark.parametrize("media", ["application/dash+xml", "text/xml"])
def test_a_dash_manifest_is_refused_with_the_way_out(media, decoder):
    manifest = b'<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="dynamic"></MPD>'
    reason = pytest.raises(SourceError, match="its DASH manifest cannot be read; use its HLS or RTSP address")
    with serving(lambda server, request: [answer(manifest, media)]) as server, reason:
        open_source(f"http://{server.address}/live.mpd")


@pytest.mark.parametrize("url", ["rtsp://127.0.0.1:9/caf\udce9", "tcp://caf\udce9:9"])
def test_address_that_opencv_cannot_take_is_refused(url, without_pyav):
    """OpenCV would end the process."""
    without_pyav()
    with pytest.raises(SourceError, match="cannot be opened: OpenCV opens no address that is not UTF-8"):
        open_source(url)
