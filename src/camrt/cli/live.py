"""``camrt live``: a stream with the map over it, as it comes."""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camrt.cli.notify import Notifier
from camrt.cli.options import add_session_flags, add_style_flags, classes_of, open_model, stop_on_signals, style_of
from camrt.cli.reload import Reloader
from camrt.cli.rotation import add_rotation_flags, rotation_of
from camrt.errors import UsageError

if TYPE_CHECKING:
    from camrt.runtime.frames import Rendered, Sink, Source
    from camrt.runtime.renderer import Renderer
    from camrt.runtime.sinks import WindowSink
    from camrt.runtime.view import View

_POLL_MS = 30
_PICTURE_S = 2.0
_NONE = Path("none")


def add(commands: Any) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "live",
        help="draw the map over a camera, a stream or a file",
        description="Draw the class activation map over a camera, a stream or a file: in a window or into files.",
        epilog="example: camrt live model.onnx --source 0      (keys in the window: ? lists them)",
    )
    parser.add_config_flag()
    parser.add_argument("model", type=Path, metavar="MODEL", help="file made by camrt attach or export")
    parser.add_argument(
        "--source",
        default="0",
        metavar="S",
        help="camera number (default 0) or device, video, rtsp:// or http:// URL, picture, folder, glob, 'synthetic'",
    )
    parser.add_argument(
        "--output",
        "-o",
        action="append",
        type=Path,
        default=[],
        metavar="FILE",
        help="write a video (by its suffix: .mp4 .avi ...) or, to a folder, pictures; repeatable; 'none' keeps nothing",
    )
    parser.add_argument("--events", metavar="FILE", help="write one JSON line a frame; - is standard output")
    parser.add_argument("--window", action="store_true", help="show a window even with --output or --events")
    parser.add_argument("--sync", action="store_true", help="show only frames that were classified, each with its map")
    parser.add_argument("--frames", type=int, metavar="N", help="stop after N frames")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    add_rotation_flags(parser)
    add_style_flags(parser)
    add_session_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run until the source ends, or Ctrl-C, SIGTERM, the key q."""
    from camrt.cli import parse
    from camrt.runtime.pipeline import Pipeline
    from camrt.runtime.renderer import Renderer
    from camrt.runtime.sources import open_source
    from camrt.runtime.view import View

    if args.frames is not None and args.frames < 1:
        raise UsageError(f"--frames {args.frames}: at least one")
    outputs = [path for path in args.output if path != _NONE]
    files = [*outputs, *([Path(args.events)] if args.events not in (None, "-") else [])]
    _check_files(files, keep=[args.model, Path(args.source)])
    model = open_model(args.model, args.provider, args.threads, args.provider_option)
    view = View(style_of(args), classes_of(args, model))
    reloader = Reloader(args, lambda: parse(args.words), model, view, _tell)
    notifier = Notifier()
    with ExitStack() as opened:  # whatever happens before the pipeline sees to it; to close twice does no harm
        source = open_source(args.source)
        opened.callback(source.close)
        window, sinks = _open_sinks(args, outputs, view, source, opened)
        renderer = Renderer(view, hud=not args.no_hud, provider=model.provider, threads=model.spare_threads)
        pipeline = Pipeline(model, source, renderer, sinks, every_camera_frame=not args.sync, paced=window is not None)
        seen = 0

        def on_frame(rendered: "Rendered") -> None:
            nonlocal seen
            seen += rendered.result is not None  # what is shown without a signal was not seen
            if window is not None:
                _obey(view, window, renderer, rendered, hold_s=_hold_s(source, rendered))
            reloader.apply()
            notifier.drawn()
            if view.quit or seen == args.frames:
                pipeline.stop()

        def stop() -> None:
            notifier.stopping()
            view.quit = True  # ends a pause
            pipeline.stop()

        stop_on_signals(stop)
        print(
            f"{source.name}: {model.path.name} on {model.provider}, {model.threads} threads; Ctrl-C stops",
            file=sys.stderr,
        )
        summary = pipeline.run(on_frame)
        notifier.stopping()
    rate = summary.frames / summary.seconds
    dropped = f", {summary.dropped} dropped to stay live" if summary.dropped else ""
    print(f"{summary.frames} frames in {summary.seconds:.1f} s ({rate:.1f} fps){dropped}", file=sys.stderr)
    if summary.frames:
        for path in filter(Path.exists, files):  # on a full disk there may be none
            print(f"wrote {path}", file=sys.stderr)
    for problem in source.problems:
        print(f"camrt: {problem}", file=sys.stderr)
    return 1 if source.problems else 0


def _check_files(files: Sequence[Path], keep: Sequence[Path]) -> None:
    """Refuse to write one file twice, or over what is read. Raises: UsageError."""
    for number, path in enumerate(files):
        if path.absolute() in [other.absolute() for other in files[:number]]:
            raise UsageError(f"{path} is named twice; give each --output and --events a file of its own")
        if path.is_file() and any(kept.is_file() and path.samefile(kept) for kept in keep):
            raise UsageError(f"{path} is read and cannot be written at the same time; choose another name")


def _open_sinks(
    args: argparse.Namespace, outputs: Sequence[Path], view: "View", source: "Source", opened: ExitStack
) -> "tuple[WindowSink | None, list[Sink]]":
    from camrt.runtime.sinks import WindowSink, open_events, open_output

    how: dict[str, Any] = {"rotation": rotation_of(args), "overwrite": args.overwrite, "tell": _tell}
    sinks: list[Sink] = []

    def add(sink: "Sink") -> None:
        opened.callback(sink.close)
        sinks.append(sink)

    window = None
    if args.window or not (args.output or args.events):
        window = WindowSink("camrt", view.press)
        add(window)
    for path in outputs:
        add(open_output(path, source, **how))
    if args.events:
        add(open_events(args.events, source, **how))
    return window, sinks


def _tell(line: str) -> None:
    print(f"camrt: {line}", file=sys.stderr, flush=True)


def _hold_s(source: "Source", rendered: "Rendered") -> float:
    """Return how long a watched overlay stays at least: pictures for a while, the last one until a key ends it."""
    if source.live or source.fps is not None:
        return 0.0
    return math.inf if rendered.frame.index + 1 == source.frame_count else _PICTURE_S


def _obey(view: "View", window: "WindowSink", renderer: "Renderer", rendered: "Rendered", *, hold_s: float) -> None:
    """Do what the keys asked for; while paused, and for ``hold_s``, keep the picture up and follow the keys."""
    until_s = time.monotonic() + hold_s
    while True:
        if view.snapshot:
            view.snapshot = False
            _save_snapshot(rendered)
        if window.closed:
            view.quit = True
        if view.quit or not (view.paused or time.monotonic() < until_s):
            return
        if rendered.result is not None:
            rendered = renderer.render(rendered.frame, rendered.result, rendered.result_index)
        window.write(rendered)
        window.poll(_POLL_MS)


def _save_snapshot(rendered: "Rendered") -> None:
    import cv2

    path = Path(time.strftime(f"camrt-%Y%m%d-%H%M%S-{rendered.frame.index}.png"))
    if cv2.imwrite(str(path), rendered.image):
        print(f"wrote {path}", file=sys.stderr)
    else:
        print(f"camrt: cannot write {path.resolve()}; is the folder writable?", file=sys.stderr)
