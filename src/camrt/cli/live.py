"""``camrt live``: a stream with the map over it, as it comes."""

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camrt.cli.options import add_session_flags, add_style_flags, classes_of, open_model, stop_on_signals, style_of
from camrt.errors import UsageError

if TYPE_CHECKING:
    from camrt.runtime.frames import Rendered, Sink
    from camrt.runtime.renderer import Renderer
    from camrt.runtime.sinks import WindowSink
    from camrt.runtime.view import View

_PAUSED_MS = 30


def add(commands: Any) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "live",
        help="draw the map over a camera, a stream or a file",
        description="Draw the class activation map over a camera, a stream or a file: in a window or into files.",
        epilog="example: camrt live model.onnx --source 0      (keys in the window: ? lists them)",
    )
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
        help="write a video (by its suffix: .mp4 .avi ...) or, to a folder, pictures; repeatable",
    )
    parser.add_argument("--events", metavar="FILE", help="write one JSON line a frame; - is standard output")
    parser.add_argument("--window", action="store_true", help="show a window even with --output or --events")
    parser.add_argument("--sync", action="store_true", help="show only frames that were classified, each with its map")
    parser.add_argument("--frames", type=int, metavar="N", help="stop after N frames")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    add_style_flags(parser)
    add_session_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run until the source ends, or Ctrl-C, SIGTERM, the key q."""
    from camrt.runtime.pipeline import Pipeline
    from camrt.runtime.renderer import Renderer
    from camrt.runtime.sources import open_source
    from camrt.runtime.view import View

    if args.frames is not None and args.frames < 1:
        raise UsageError(f"--frames {args.frames}: at least one")
    model = open_model(args)
    view = View(style_of(args), classes_of(args, model))
    source = open_source(args.source)
    try:
        window, sinks = _open_sinks(args, view, source.fps)
    except BaseException:
        source.close()
        raise
    renderer = Renderer(view, hud=not args.no_hud, provider=model.provider, threads=model.threads)
    pipeline = Pipeline(model, source, renderer, sinks, every_camera_frame=not args.sync, paced=window is not None)
    print(
        f"{source.name}: {model.path.name} on {model.provider}, {model.threads} threads; Ctrl-C stops", file=sys.stderr
    )
    seen = 0

    def on_frame(rendered: "Rendered") -> None:
        nonlocal seen
        seen += 1
        if window is not None:
            _obey(view, window, renderer, rendered)
        if view.quit or seen == args.frames:
            pipeline.stop()

    stop_on_signals(pipeline.stop)
    summary = pipeline.run(on_frame)
    rate = summary.frames / summary.seconds
    dropped = f", {summary.dropped} dropped to stay live" if summary.dropped else ""
    print(f"{summary.frames} frames in {summary.seconds:.1f} s ({rate:.1f} fps){dropped}", file=sys.stderr)
    for path in [*args.output, *([args.events] if args.events not in (None, "-") else [])]:
        print(f"wrote {path}", file=sys.stderr)
    for problem in source.problems:
        print(f"camrt: {problem}", file=sys.stderr)
    return 1 if source.problems else 0


def _open_sinks(args: argparse.Namespace, view: "View", fps: float | None) -> "tuple[WindowSink | None, list[Sink]]":
    from camrt.runtime.sinks import EventSink, WindowSink, open_output

    sinks: list[Sink] = []
    window = None
    try:
        if args.window or not (args.output or args.events):
            window = WindowSink("camrt", view.press)
            sinks.append(window)
        # One by one: those that are open are closed again where the next cannot be.
        for path in args.output:
            sinks.append(open_output(path, fps=fps, overwrite=args.overwrite))  # noqa: PERF401
        if args.events:
            sinks.append(EventSink(args.events, overwrite=args.overwrite))
    except BaseException:
        for sink in sinks:
            sink.close()
        raise
    return window, sinks


def _obey(view: "View", window: "WindowSink", renderer: "Renderer", rendered: "Rendered") -> None:
    """Do what the keys asked for; while paused keep the picture up and follow the keys."""
    while True:
        if view.snapshot:
            view.snapshot = False
            _save_snapshot(rendered)
        if window.closed:
            view.quit = True
        if view.quit or not view.paused:
            return
        rendered = renderer.render(rendered.frame, rendered.result, rendered.result_index)
        window.write(rendered)
        window.poll(_PAUSED_MS)


def _save_snapshot(rendered: "Rendered") -> None:
    import cv2

    path = Path(time.strftime(f"camrt-%Y%m%d-%H%M%S-{rendered.frame.index}.png"))
    if cv2.imwrite(str(path), rendered.image):
        print(f"wrote {path}", file=sys.stderr)
    else:
        print(f"camrt: cannot write {path.resolve()}; is the folder writable?", file=sys.stderr)
