"""Outputs of ``camrt live``: videos, images and event logs, for one source or several."""

import argparse
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from camrt.cli.rotation_flags import rotation_of
from camrt.cores import usable_cores
from camrt.errors import UsageError

if TYPE_CHECKING:
    from camrt.runtime.frames import Rendered, Sink, Source, StreamItem

_NONE = Path("none")


def _outputs(args: argparse.Namespace, sources: int) -> list[list[Path]]:
    """Return the outputs of each source: as they were named, or with the source's number if there are several."""
    named = [path for path in args.output if path != _NONE]
    if sources == 1:
        return [named]
    numbers = range(1, sources + 1)
    return [[path.with_name(f"{path.stem}-{number}{path.suffix}") for path in named] for number in numbers]


def files_of(args: argparse.Namespace, sources: int) -> list[Path]:
    """Return all files and folders that will be written."""
    events = [] if args.events in (None, "-") else [Path(args.events)]
    return [path for outputs in _outputs(args, sources) for path in outputs] + events


def check_files(files: Sequence[Path], keep: Sequence[Path]) -> None:
    """Refuse to write one file twice, or over an input. Raises: UsageError."""
    for number, path in enumerate(files):
        if path.absolute() in [other.absolute() for other in files[:number]]:
            raise UsageError(f"{path} is named twice; give each --output and --events a file of its own")
        if path.is_file() and any(kept.is_file() and path.samefile(kept) for kept in keep):
            raise UsageError(f"{path} is an input and cannot be written at the same time; choose another name")


def open_recorders(
    args: argparse.Namespace, sources: "Sequence[Source]", opened: ExitStack, tell: Callable[[str], None]
) -> "list[list[Sink[Rendered]]]":
    """Open the videos and image folders of each source; ``opened`` closes them.

    Raises:
        UsageError: a file exists, or its suffix is not that of an output.
        SinkError: an output cannot be written.
    """
    from camrt.runtime.sinks import open_output

    rotation = rotation_of(args)
    threads = max(1, usable_cores() // len(sources))  # the encoders share the cores
    recorders: list[list[Sink[Rendered]]] = []
    for source, outputs in zip(sources, _outputs(args, len(sources)), strict=True):
        recorders.append([])
        for path in outputs:
            recorder = open_output(
                path, source, rotation=rotation, overwrite=args.overwrite, tell=tell, threads=threads
            )
            opened.callback(recorder.close)
            recorders[-1].append(recorder)
    return recorders


def open_listeners(
    args: argparse.Namespace, sources: "Sequence[Source]", opened: ExitStack, tell: Callable[[str], None]
) -> "list[list[Sink[StreamItem]]]":
    """Open the event log, which all sources share; ``opened`` closes it.

    Raises:
        UsageError: the file exists.
        SinkError: it cannot be written.
    """
    from camrt.runtime.sinks import open_events
    from camrt.runtime.sinks.shared import SharedSink

    if not args.events:
        return [[] for _ in sources]
    lasting = next((source for source in sources if source.live), sources[0])
    log = open_events(args.events, lasting, rotation=rotation_of(args), overwrite=args.overwrite, tell=tell)
    opened.callback(log.close)
    shared = log if len(sources) == 1 else SharedSink(log, len(sources))
    return [[shared] for _ in sources]
