"""What ``camrt live`` writes: videos, pictures, events, of one source or of several."""

import argparse
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camrt.cli.rotation_flags import rotation_of
from camrt.errors import UsageError

if TYPE_CHECKING:
    from camrt.runtime.frames import Sink, Source

_NONE = Path("none")


def _outputs(args: argparse.Namespace, sources: int) -> list[list[Path]]:
    """Return the outputs of each source: as they were named, or with its number where there are several."""
    named = [path for path in args.output if path != _NONE]
    if sources == 1:
        return [named]
    numbers = range(1, sources + 1)
    return [[path.with_name(f"{path.stem}-{number}{path.suffix}") for path in named] for number in numbers]


def keeps_pictures(args: argparse.Namespace) -> bool:
    """Tell whether a picture is written at all, and not only events."""
    return any(_outputs(args, 1))


def files_of(args: argparse.Namespace, sources: int) -> list[Path]:
    """Return all that will be written."""
    events = [] if args.events in (None, "-") else [Path(args.events)]
    return [path for outputs in _outputs(args, sources) for path in outputs] + events


def check_files(files: Sequence[Path], keep: Sequence[Path]) -> None:
    """Refuse to write one file twice, or over what is read. Raises: UsageError."""
    for number, path in enumerate(files):
        if path.absolute() in [other.absolute() for other in files[:number]]:
            raise UsageError(f"{path} is named twice; give each --output and --events a file of its own")
        if path.is_file() and any(kept.is_file() and path.samefile(kept) for kept in keep):
            raise UsageError(f"{path} is read and cannot be written at the same time; choose another name")


def open_recorders(
    args: argparse.Namespace, sources: "Sequence[Source]", opened: ExitStack, tell: Callable[[str], None]
) -> "list[list[Sink]]":
    """Open what each source writes; ``opened`` closes it. All of them write the same events.

    Raises:
        UsageError: a file exists, or its suffix is of something else.
        SinkError: something cannot be written.
    """
    from camrt.runtime.sinks import open_events, open_output
    from camrt.runtime.sinks.shared import SharedSink

    how: dict[str, Any] = {"rotation": rotation_of(args), "overwrite": args.overwrite, "tell": tell}
    recorders: list[list[Sink]] = []
    for source, outputs in zip(sources, _outputs(args, len(sources)), strict=True):
        recorders.append([])
        for path in outputs:
            recorders[-1].append(open_output(path, source, **how))
            opened.callback(recorders[-1][-1].close)
    if args.events:
        lasting = next((source for source in sources if source.live), sources[0])
        events = open_events(args.events, lasting, **how)
        opened.callback(events.close)
        log = events if len(sources) == 1 else SharedSink(events, len(sources))
        for sinks in recorders:
            sinks.append(log)
    return recorders
