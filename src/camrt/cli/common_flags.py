"""Flags and signals that several commands share."""

import argparse
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from camrt.cli.messages import tell
from camrt.errors import UsageError

if TYPE_CHECKING:
    from camrt.runtime.inference.model import Model


def add_session_flags(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Add ``--provider``, its options and ``--threads``; ``several``: the first and the last are lists."""
    provider = parser.add_argument(
        "--provider",
        default="auto",
        help="auto (default) picks the fastest provider that keeps the maps; tensorrt, cuda, tensorrt-rtx, openvino, "
        "webgpu, coreml, qnn, xnnpack or cpu is used or reported as an error, there is no silent fallback",
    )
    parser.add_argument(
        "--provider-option",
        action="append",
        default=[],
        metavar="K=V",
        help="option of the provider, as ONNX Runtime names it, such as use_tf32=0; repeatable",
    )
    threads = parser.add_argument(
        "--threads", type=int, metavar="N", help="number of threads (default: one per usable core)"
    )
    if several:
        for flag in (provider, threads):
            flag.nargs, flag.default = "+", [flag.default]


def add_head_flag(parser: argparse.ArgumentParser) -> None:
    """Add ``--head`` to a command without the display flags, which have it too."""
    parser.add_argument(
        "--head", metavar="NAME", help="use this head of a model file with several (default: the first)"
    )


def provider_options(entries: Sequence[str]) -> dict[str, str]:
    """Return the options of ``--provider-option``. Raises: UsageError: an entry is wrong or a duplicate."""
    options: dict[str, str] = {}
    for entry in entries:
        key, equals, value = entry.partition("=")
        if not (key and equals):
            raise UsageError(f"--provider-option {entry}: write NAME=VALUE, as in device_type=GPU")
        if key in options:
            raise UsageError(f"--provider-option {key} is given twice")
        options[key] = value
    return options


def open_model(
    path: Path, provider: str, threads: int | None, options: Sequence[str], head: str | None = None
) -> "Model":
    """Open a head of a model as the flags of `add_session_flags` say; OpenCV gets the same number of threads."""
    import cv2

    from camrt.runtime.inference.model import load
    from camrt.video_decoding.capture import quiet_decoders

    quiet_decoders()
    model = load(path, provider=provider, threads=threads, provider_options=provider_options(options), head=head)
    for remark in model.remarks:
        tell(remark)
    cv2.setNumThreads(model.threads)
    return model


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Let Ctrl-C and SIGTERM end the work in an orderly way, with finished outputs. A second one interrupts."""

    def handle(number: int, _: object) -> None:
        stop()
        signal.signal(number, signal.default_int_handler)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)
