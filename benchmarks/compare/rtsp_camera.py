"""A network camera in a separate process: a video file over RTSP, again and again, to any number of clients.

python -m camrt.benchmarks.compare.rtsp_camera FILE

It speaks as much RTSP as FFmpeg's client asks for: RTP inside the TCP connection (RFC 2326, section 10.12), H.264 in
single and fragmented packets (RFC 6184). The file is encoded beforehand, as a camera does not use this machine's cores.
"""

import base64
import contextlib
import re
import socketserver
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import av
from av.bitstream import BitStreamFilterContext

_CLOCK_HZ: Final = 90_000
_PAYLOAD: Final = 1400
_H264: Final = 96  # the dynamic payload type that the description names
_SPS, _PPS = 7, 8


@contextlib.contextmanager
def rtsp_camera(video: Path) -> Iterator[str]:
    """Serve a video in a separate process, and yield the address.

    Args:
        video: an MP4 file with H.264, without frames that refer to later ones.
    """
    command = [sys.executable, "-m", "camrt.benchmarks.compare.rtsp_camera", str(video)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def split_units(data: bytes) -> list[bytes]:
    """Return the NAL units of a frame in Annex B of H.264, without their start codes."""
    return [unit for unit in re.split(rb"\x00{2,}\x01", data) if unit]


def rtp_packets(units: Sequence[bytes], number: int, time: int) -> list[bytes]:
    """Return the RTP packets of one frame.

    Args:
        units: its NAL units.
        number: sequence number of the first packet.
        time: presentation time in units of 1/90000 s.
    """
    payloads: list[bytes] = []
    for unit in units:
        if len(unit) <= _PAYLOAD:
            payloads.append(unit)
            continue
        body, part = unit[1:], _PAYLOAD - 2
        for start in range(0, len(body), part):
            first, last = start == 0, start + part >= len(body)
            header = bytes([unit[0] & 0xE0 | 28, first << 7 | last << 6 | unit[0] & 0x1F])  # FU-A
            payloads.append(header + body[start : start + part])
    packets = []
    for index, payload in enumerate(payloads):
        marker = 0x80 if index == len(payloads) - 1 else 0
        head = struct.pack(">BBHII", 0x80, marker | _H264, (number + index) & 0xFFFF, time & 0xFFFFFFFF, 1)
        packets.append(head + payload)
    return packets


def _read_frames(video: Path) -> tuple[list[list[bytes]], float]:
    """Return the NAL units of each frame, and the frame rate."""
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        to_annex_b = BitStreamFilterContext("h264_mp4toannexb", stream)
        packets = [done for packet in container.demux(stream) for done in to_annex_b.filter(packet)]
        frames = [split_units(bytes(packet)) for packet in packets if packet.size]
        return frames, float(stream.average_rate or 30)


class _Client(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while (request := self._read_request()) is not None:
            method, number = request
            self._answer(method, number)
            if method == "PLAY":
                with contextlib.suppress(OSError):  # the client has left
                    self._play()
                return

    def _read_request(self) -> tuple[str, str] | None:
        first = self.rfile.readline().decode("latin-1").split()
        number = ""
        while (line := self.rfile.readline().decode("latin-1").strip()) != "":
            if line.lower().startswith("cseq:"):
                number = line.partition(":")[2].strip()
        return (first[0], number) if first else None

    def _answer(self, method: str, number: str) -> None:
        assert isinstance(self.server, _Server)
        head = ["RTSP/1.0 200 OK", f"CSeq: {number}", "Session: 1"]
        body = ""
        if method == "OPTIONS":
            head.append("Public: DESCRIBE, SETUP, PLAY, TEARDOWN")
        elif method == "DESCRIBE":
            body = self.server.description
            head += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
        elif method == "SETUP":
            head.append("Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
        self.wfile.write("\r\n".join([*head, "", body]).encode())

    def _play(self) -> None:
        assert isinstance(self.server, _Server)
        sequence, count, start_s = 0, 0, time.monotonic()
        while True:
            units = self.server.frames[count % len(self.server.frames)]
            packets = rtp_packets(units, sequence, round(count * _CLOCK_HZ / self.server.rate))
            self.wfile.write(b"".join(struct.pack(">cBH", b"$", 0, len(packet)) + packet for packet in packets))
            sequence, count = sequence + len(packets), count + 1
            time.sleep(max(0.0, start_s + count / self.server.rate - time.monotonic()))


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, video: Path) -> None:
        self.frames, self.rate = _read_frames(video)
        parameters = {unit[0] & 0x1F: base64.b64encode(unit).decode() for unit in self.frames[0]}
        self.description = "\r\n".join(
            [
                "v=0",
                "o=- 0 0 IN IP4 127.0.0.1",
                "s=camrt",
                "c=IN IP4 127.0.0.1",
                "t=0 0",
                f"m=video 0 RTP/AVP {_H264}",
                f"a=rtpmap:{_H264} H264/{_CLOCK_HZ}",
                f"a=fmtp:{_H264} packetization-mode=1;sprop-parameter-sets={parameters[_SPS]},{parameters[_PPS]}",
                f"a=framerate:{self.rate:g}",
                "a=control:track1",
                "",
            ]
        )
        super().__init__(("127.0.0.1", 0), _Client)


def main() -> int:
    """Serve until the process ends; print the address as soon as the camera accepts connections."""
    with _Server(Path(sys.argv[1])) as server:
        print(f"rtsp://127.0.0.1:{server.server_address[1]}/", flush=True)
        server.serve_forever()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
