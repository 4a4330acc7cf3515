"""Measure 1 to 64 streams on one model: frames from memory, H.264 files and network cameras (RTSP).

python -m camrt.benchmarks.compare.many_streams MODEL [--kind K ...] [--streams N ...] [--seconds S] [--json FILE]
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from camrt.benchmarks.compare import multi_camera
from camrt.benchmarks.compare.h264_video import write_camera_video
from camrt.benchmarks.compare.rtsp_camera import rtsp_camera
from camrt.benchmarks.machine import describe_machine, format_machine
from camrt.benchmarks.report.tables import streams
from camrt.runtime.frames import Frame, Source
from camrt.runtime.inference.model import Model, load
from camrt.runtime.sources import open_sources
from camrt.runtime.sources.files.video import VideoSource

KINDS: Final[Mapping[str, tuple[int, int]]] = {
    "memory 720p": (1280, 720),
    "memory 1080p": (1920, 1080),
    "H.264 file 720p": (1280, 720),
    "RTSP 720p": (1280, 720),
}
"""Kinds of streams, with width and height of their frames in pixels."""
COUNTS: Final = (1, 2, 4, 8, 16, 32, 64)


def measure(
    model: Model, kinds: Sequence[str], counts: Sequence[int], seconds: float, rounds: int = 1
) -> list[dict[str, Any]]:
    """Measure each kind of streams with each number of them.

    Args:
        model: opened for one camera.
        kinds: keys of `KINDS`.
        counts: numbers of streams.
        seconds: duration of a turn.
        rounds: turns of each number of streams.

    Returns: the rows of `multi_camera.measure`, each with ``kind``, and ``mbit_s``, the bit rate of a stream in
    megabits per second; 0 from memory. ``fps`` counts the frames that were classified and drawn.
    """
    rows = []
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        bit_rates: dict[Path, float] = {}
        for kind in kinds:
            width, height = KINDS[kind]
            bit_rate, opener = 0.0, None
            if not kind.startswith("memory"):
                video = folder / f"{width}x{height}.mp4"
                if video not in bit_rates:
                    bit_rates[video] = write_camera_video(video, width, height)
                bit_rate = bit_rates[video]
                opener = _endless_files(video) if "file" in kind else _cameras(opened.enter_context(rtsp_camera(video)))
            measured = multi_camera.measure(model, width, height, counts, rounds, turn_s=seconds, open_sources=opener)
            rows += [{"kind": kind, "mbit_s": bit_rate, **row} for row in measured]
    return rows


class EndlessVideo:
    """A video file that begins again at its end."""

    live = False
    frame_count: int | None = None

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self.problems: list[str] = []
        self._path = path
        self._video = VideoSource(path)
        self.fps = self._video.fps
        self._frames = self._read_all()

    def read(self) -> Frame | None:
        """Return the next frame; None after `close`."""
        return next(self._frames, None)

    def close(self) -> None:
        """Release the file."""
        self._path = Path()
        self._video.close()

    def _read_all(self) -> Iterator[Frame]:
        index = 0
        while True:
            while (frame := self._video.read()) is not None:
                yield replace(frame, index=index)
                index += 1
            if not self._path.name:
                return
            self._video = VideoSource(self._path)


def _endless_files(path: Path) -> multi_camera.OpenSources:
    return lambda count: [EndlessVideo(path) for _ in range(count)]


def _cameras(address: str) -> Callable[[int], list[Source]]:
    return lambda count: open_sources([address] * count)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description="measure 1 to 64 streams on one model")
    parser.add_argument("model", type=Path, metavar="MODEL")
    parser.add_argument("--kind", nargs="+", choices=list(KINDS), default=list(KINDS), help="kinds of streams")
    parser.add_argument("--streams", type=int, nargs="+", default=list(COUNTS), metavar="N", help="numbers of streams")
    parser.add_argument("--seconds", type=float, default=3.0, metavar="S", help="per turn (default 3)")
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="turns of each number (default 1)")
    parser.add_argument("--provider", default="auto", metavar="P", help="provider (default auto)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of the model (default: one per core)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results")
    args = parser.parse_args()
    model = load(args.model, provider=args.provider, threads=args.threads)
    rows = measure(model, args.kind, args.streams, args.seconds, args.rounds)
    machine = describe_machine()
    if args.json is not None:
        args.json.write_text(json.dumps({"machine": machine, "streams": rows}, indent=1) + "\n", encoding="utf-8")
    print(f"{format_machine(machine)}\n\n{streams(rows)}")


if __name__ == "__main__":
    main()
