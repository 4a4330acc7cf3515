"""Keep the sound of a video file in the video that is made from it. Needs PyAV (extra ``video``)."""

from collections.abc import Generator, Iterator, Mapping
from fractions import Fraction
from typing import Any, Final, cast

import av
import av.error
import av.filter
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer

from camrt.runtime.frames import Sound
from camrt.video_decoding.stream_clock import StreamClock

COPIED: Final[Mapping[str, frozenset[str]]] = {
    "mp4": frozenset(("aac", "mp3", "ac3", "eac3", "opus", "flac", "alac")),
    "mov": frozenset(
        ("aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_mulaw", "pcm_alaw")
    ),
    "matroska": frozenset(
        (
            *("aac", "mp3", "mp2", "ac3", "eac3", "dts", "truehd", "opus", "vorbis", "flac", "alac"),
            *("pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_f32le", "pcm_u8"),
        )
    ),
}
"""Codecs of sound that players expect in each container; any other sound is encoded to AAC."""
_AAC_RATES: Final = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)  # Hz
_AAC_LAYOUTS: Final = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "7.1")
_BIT_RATE: Final = 80_000  # bits per second and channel
# The decoders of AAC and Opus need a packet before the first sample; it is no sound that comes before the picture.
_PRIMING_S: Final = 0.1


class SoundTrack:
    """All sound tracks of a video file, as packets for another container."""

    def __init__(self, sound: Sound, container: OutputContainer) -> None:
        """Open the file and add a stream to the container for each track.

        Args:
            sound: the file, and the time at which the picture starts.
            container: the video to write, before its encoding starts.

        Raises:
            av.error.FFmpegError: the file cannot be read.
        """
        self.problems: list[str] = []
        """One line for each part of the sound that was left out."""
        self._sound = sound
        self._damaged = 0
        self._input = av.open(str(sound.path.absolute()), metadata_errors="replace")
        self._tracks = {stream.index: _track(stream, container) for stream in self._input.streams.audio}
        for index in [index for index, track in self._tracks.items() if track is None]:
            self.problems.append(f"{sound.path}: sound track {index} was left out: no decoder for it")
            del self._tracks[index]
        self._packets = self._read()
        self._next: tuple[float, av.Packet[AudioStream]] | None = next(self._packets, None)
        first_s = 0.0 if self._next is None else self._next[0]
        self.lead_s = -first_s if sound.first and first_s < -_PRIMING_S else 0.0
        """Seconds by which the sound begins before the picture."""

    def until(self, time_s: float) -> "Iterator[av.Packet[Any]]":
        """Yield the packets up to a time of the new video, in seconds. Raises: av.error.FFmpegError: encoding fails."""
        while self._next is not None and self._next[0] + self.lead_s <= time_s:
            packet_s, packet = self._next
            track = self._tracks[packet.stream.index]
            assert track is not None
            try:
                yield from track.convert(packet, packet_s + self.lead_s - _stamp_s(packet))
            except av.error.InvalidDataError:
                self._damaged += 1
            self._next = next(self._packets, None)

    def end(self, time_s: float) -> "Iterator[av.Packet[Any]]":
        """Yield the last packets: up to a time, or all if the picture was read to its end; then close the file."""
        yield from self.until(float("inf") if self._sound.ended() else time_s)
        for track in self._tracks.values():
            assert track is not None
            yield from track.flush()
        self._packets.close()
        self._input.close()
        if self._damaged:
            self.problems.append(f"{self._sound.path}: {self._damaged} damaged packets of the sound were left out")

    def _read(self) -> "Generator[tuple[float, av.Packet[AudioStream]], None, None]":
        """Yield each packet with its time in seconds after the first frame."""
        streams = [stream for stream in self._input.streams.audio if stream.index in self._tracks]
        if not streams:
            return
        clocks = {stream.index: StreamClock(self._sound.start_s, self._input) for stream in streams}
        lasts_s = dict.fromkeys(clocks, 0.0)  # durations of the newest packets
        try:
            for packet in self._input.demux(*streams):
                if packet.size and (packet.pts is not None or packet.dts is not None):
                    index = packet.stream.index
                    time_s = clocks[index].next_s(_stamp_s(packet), lasts_s[index])
                    lasts_s[index] = float((packet.duration or 0) * packet.time_base)
                    yield time_s, cast("av.Packet[AudioStream]", packet)
        except av.error.FFmpegError:  # the picture has the same end
            self._damaged += 1


class _Copy:
    """A track whose packets are copied."""

    def __init__(self, template: AudioStream, container: OutputContainer) -> None:
        self._stream = container.add_stream_from_template(template)
        self._last: int | None = None

    def convert(self, packet: "av.Packet[AudioStream]", shift_s: float) -> "Iterator[av.Packet[Any]]":
        start = round((_stamp_s(packet) + shift_s) / packet.time_base)
        if start < 0 and 2 * start + (packet.duration or 0) <= 0:  # most of it is before the picture
            return
        packet.pts = max(0, start)
        if self._last is not None:
            packet.pts = max(packet.pts, self._last + 1)
        packet.dts = self._last = packet.pts
        packet.stream = self._stream
        yield packet

    def flush(self) -> "Iterator[av.Packet[Any]]":
        yield from ()


class _Encode:
    """A track that is encoded to AAC, because players do not expect its codec in the container."""

    def __init__(self, source: AudioStream, container: OutputContainer) -> None:
        context = source.codec_context
        rate = context.sample_rate if context.sample_rate in _AAC_RATES else 48000
        layout = context.layout.name if context.layout.name in _AAC_LAYOUTS else "stereo"
        self._stream = container.add_stream("aac", rate=rate, layout=layout)
        self._stream.bit_rate = _BIT_RATE * self._stream.codec_context.channels
        self._rate, self._layout = rate, layout
        self._graph: av.filter.Graph | None = None

    def convert(self, packet: "av.Packet[AudioStream]", shift_s: float) -> "Iterator[av.Packet[Any]]":
        for frame in packet.decode():
            frame.pts = round((float(frame.time or 0.0) + shift_s) * frame.sample_rate)
            frame.time_base = Fraction(1, frame.sample_rate)
            if self._graph is None:
                self._graph = self._build(frame)
            self._graph.push(frame)
            yield from self._encode(self._graph)

    def flush(self) -> "Iterator[av.Packet[Any]]":
        if self._graph is not None:
            self._graph.push(None)
            yield from self._encode(self._graph)
        yield from self._stream.encode(None)

    def _build(self, frame: AudioFrame) -> av.filter.Graph:
        """Return filters that fill gaps with silence and cut what comes before the picture."""
        graph = av.filter.Graph()
        graph.link_nodes(
            graph.add_abuffer(
                sample_rate=frame.sample_rate,
                format=frame.format.name,
                layout=frame.layout.name,
                time_base=Fraction(1, frame.sample_rate),
            ),
            graph.add("aresample", "async=1:first_pts=0"),
            graph.add("aformat", f"sample_rates={self._rate}:channel_layouts={self._layout}:sample_fmts=fltp"),
            graph.add("abuffersink"),
        ).configure()
        return graph

    def _encode(self, graph: av.filter.Graph) -> "Iterator[av.Packet[Any]]":
        while True:
            try:
                frame = cast(AudioFrame, graph.pull())
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            yield from self._stream.encode(frame)


def _stamp_s(packet: "av.Packet[Any]") -> float:
    """Return the time of a packet in its file, in seconds."""
    stamp = packet.dts if packet.pts is None else packet.pts
    return float((stamp or 0) * packet.time_base)


def _track(stream: AudioStream, container: OutputContainer) -> _Copy | _Encode | None:
    """Return how a track gets into the container; None: its codec is unknown."""
    context = stream.codec_context
    if context is None:
        return None
    # AAC of MPEG-TS has its parameters in each packet, and the header is written before the first.
    headless = context.codec.canonical_name == "aac" and not context.extradata
    if context.codec.canonical_name in COPIED[container.format.name] and not headless:
        return _Copy(stream, container)
    return _Encode(stream, container)
