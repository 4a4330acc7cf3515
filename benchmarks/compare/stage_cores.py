"""Processor time of each stage of the pipelines, by the threads of this process. Linux only."""

import os
import threading
from pathlib import Path
from typing import Final

STAGES: Final = ("decode", "inference", "draw")
_TASKS: Final = Path("/proc/self/task")
_DECODERS: Final = ("camrt-source", "read ")
_DRAWERS: Final = ("camrt-stream", "camrt-rows")
# FFmpeg names the threads of its decoders like this; ONNX Runtime's have the name of the process.
_FFMPEG: Final = "av:"


def stage_seconds() -> dict[str, float]:
    """Return the seconds of processor time so far of the stages `STAGES`; empty where the system has no ``/proc``.

    ``decode``: reading, decoding and converting frames, and the scene detector. ``inference``: ONNX Runtime's threads,
    and those that call it, with the preprocessing. ``draw``: overlays, pairing and sinks. Threads that have ended are
    left out.
    """
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    if not _TASKS.exists():
        return {}
    seconds = dict.fromkeys(STAGES, 0.0)
    for task in _TASKS.iterdir():
        try:
            stat = (task / "stat").read_text()
        except OSError:  # it has ended
            continue
        name, _, rest = stat.rpartition(")")
        fields = rest.split()
        ticks = int(fields[11]) + int(fields[12])  # user and system time
        stage = _stage(names.get(int(task.name)), name.partition("(")[2])
        if stage is not None:
            seconds[stage] += ticks / os.sysconf("SC_CLK_TCK")
    return seconds


def _stage(name: str | None, native_name: str) -> str | None:
    """Return the stage of a thread; None: the main thread, which only measures.

    Args:
        name: its name in Python; None: it is no thread of Python.
        native_name: its name in the system.
    """
    if name is None:
        return "decode" if native_name.startswith(_FFMPEG) else "inference"
    if name.startswith(_DECODERS):
        return "decode"
    if name.startswith(_DRAWERS):
        return "draw"
    return None if name == "MainThread" else "inference"
