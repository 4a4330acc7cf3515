"""``camrt live``: draw the maps over one stream or several, live."""

import argparse
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camrt.cli.common_flags import add_session_flags, open_model, stop_on_signals
from camrt.cli.display_flags import add_display_flags, settings_of
from camrt.cli.file_mode import add_mode_flag, set_file_mode
from camrt.cli.frame_flags import add_frame_flags, transform_of
from camrt.cli.messages import say, tell
from camrt.cli.recording import check_files, files_of, open_listeners, open_recorders
from camrt.cli.reload import Reloader
from camrt.cli.rotation_flags import add_rotation_flags
from camrt.cli.serve_flags import add_serve_flags, check_serve_flags, serve
from camrt.cli.source_flags import add_source_flags, source_options
from camrt.cli.systemd import Notifier
from camrt.cli.watch_training import TrainingWatch, check_watch
from camrt.errors import CamrtError, UsageError

if TYPE_CHECKING:
    from camrt.runtime.frames import Source, StreamItem
    from camrt.runtime.inference.model import Model
    from camrt.runtime.maps.attention_reference import AttentionReference
    from camrt.runtime.stream.pipeline import Summary

_POLL_S = 0.03


def add(commands: Any) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "live",
        help="draw the map over a camera, a stream or a file",
        description="Draw the class activation map over a camera, a stream or a file: in a window, a browser or files.",
        epilog="example: camrt live model.onnx --source 0      (the key ? in the window lists the keys)",
    )
    parser.add_config_flag()
    parser.add_argument("model", type=Path, nargs="?", metavar="MODEL", help="file made by camrt attach or export")
    parser.add_argument(
        "--watch", type=Path, metavar="FOLDER", help="show the newest epoch of a camrt train that writes here"
    )
    parser.add_argument(
        "--source",
        action="append",
        metavar="S",
        help="camera number (default 0) or device, video, address (rtsp, http, ...), image, folder, glob, 'picamera2', "
        "gst:PIPELINE, 'synthetic'; repeat it for several sources",
    )
    parser.add_argument(
        "--output",
        "-o",
        action="append",
        type=Path,
        default=[],
        metavar="FILE",
        help="write a video (.mp4, .avi, ...) or, into a folder, images; repeatable; 'none' writes nothing. Several "
        "sources have an output each, with their number in the name",
    )
    parser.add_argument("--events", metavar="FILE", help="write one JSON line per frame; - is standard output")
    parser.add_argument(
        "--reference",
        type=Path,
        metavar="REPORT",
        help="compare the maps with report.json of camrt audit; a line, the events and the page tell when they leave "
        "its range",
    )
    parser.add_argument("--window", action="store_true", help="show a window even with --output, --events or --serve")
    parser.add_argument("--sync", action="store_true", help="show only classified frames, each with its own map")
    parser.add_argument("--frames", type=int, metavar="N", help="stop each source after N frames")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    add_mode_flag(parser)
    add_source_flags(parser)
    add_serve_flags(parser)
    add_rotation_flags(parser)
    add_frame_flags(parser)
    add_display_flags(parser)
    add_session_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run until the sources end, or Ctrl-C, SIGTERM, the key q."""
    from camrt.runtime.sources import open_sources
    from camrt.runtime.sources.transform import TransformedSource
    from camrt.runtime.stream.live_session import LiveSession
    from camrt.runtime.stream.window_viewer import WindowViewer

    check_watch(args.model, args.watch)
    if args.frames is not None and args.frames < 1:
        raise UsageError(f"--frames {args.frames}: at least one")
    texts = args.source or ["0"]
    files = files_of(args, len(texts))
    check_files(files, keep=[*filter(None, [args.model]), *map(Path, texts)])
    check_serve_flags(args)
    options = source_options(args, texts)
    transform = transform_of(args)
    shows_window = args.window or not (args.output or args.events or args.serve is not None)
    notifier = Notifier()

    def open_file(path: Path) -> "Model":
        return open_model(path, args.provider, args.threads, args.provider_option, args.head)

    def parse_again() -> argparse.Namespace:
        fresh: argparse.Namespace = args.parse_again()
        check_watch(fresh.model, fresh.watch)
        return fresh

    with ExitStack() as opened:  # closes everything if the session does not start; closing twice does no harm
        training = None if args.watch is None else TrainingWatch(args.watch, opened, open_file, say)
        model = open_file(args.model) if training is None else training.first()
        settings_of(args, model, live=True)  # report errors before a source is opened
        reference = None if args.reference is None else _read_reference(args.reference, model)
        set_file_mode(args.mode)  # after the model, whose caches may serve other users
        sources = open_sources(texts, tell=say, options=options)
        for source in sources:
            opened.callback(source.close)
        if args.debug:
            for text, source in zip(texts, sources, strict=True):
                if source.name != text:
                    say(f"{source.name} is {text}")
        if transform is not None:
            sources = [TransformedSource(source, transform) for source in sources]
        live = all(source.live for source in sources)
        session = LiveSession(
            model,
            sources,
            settings=settings_of(args, model, live=live),
            recorders=open_recorders(args, sources, opened, tell),
            listeners=open_listeners(args, sources, opened, tell),
            hud=not args.no_hud,
            every_camera_frame=not args.sync,
            watched=shows_window or args.serve is not None,
            frames=args.frames,
            enlarge=args.scale_output,
            reference=reference,
        )
        reloader = Reloader(args, parse_again, model, session.settings, tell, live=live)
        if training is not None:
            training.follow(session.replace_model, opened)
        server = None if args.serve is None else serve(args, session.hub, opened)
        window = None
        if shows_window:
            window = WindowViewer(session.hub, hud=not args.no_hud, tell=say)
            opened.callback(window.close)

        def meanwhile() -> None:
            if window is None:
                time.sleep(_POLL_S)
            else:
                window.update()
                if window.closed:
                    stop()
            reloader.apply()

        def on_item(number: int, item: "StreamItem") -> None:
            if server is None or server.alive:  # else the watchdog restarts the service
                notifier.drawn()
            if item.attention is not None and item.attention_changed:
                tell(_attention_line(item))

        def on_failure(number: int, error: BaseException) -> None:
            if len(sources) > 1:
                tell(f"{sources[number].name} has ended: {error}")

        def stop() -> None:
            notifier.stopping()
            session.stop()

        stop_on_signals(stop)
        names = ", ".join(source.name for source in sources)
        say(f"{names}: {model.path.name} on {model.provider}, {model.threads} threads; Ctrl-C stops")
        outcomes = session.run(on_item, meanwhile=meanwhile, on_failure=on_failure, on_remark=tell)
        notifier.stopping()
    summaries = [_summary_of(outcome, alone=len(sources) == 1) for outcome in outcomes]
    return _conclude(sources, summaries, files)


def _read_reference(path: Path, model: "Model") -> "AttentionReference":
    from camrt.runtime.maps.attention_reference import read_reference

    rows, columns = (side - 2 * model.decoder.margin for side in model.map_shape[1:])
    return read_reference(path, model.labels, (rows, columns))


def _attention_line(item: "StreamItem") -> str:
    """Return a line about attention that has left the audit's range, or come back."""
    from camrt.runtime.maps.attention import STATISTICS

    assert item.attention is not None
    if not item.attention.outside:
        return f"{item.frame.name}: the model's attention is back in the audit's range"
    words = STATISTICS[item.attention.statistic]
    return f"{item.frame.name}: the model's attention has left the audit's range ({words})"


def _summary_of(outcome: "Summary | BaseException", *, alone: bool) -> "Summary | None":
    """Return the summary of a stream; None: it failed, and that was reported. Raises: the error of a single stream."""
    if isinstance(outcome, CamrtError) and not alone:
        return None
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def _conclude(sources: "Sequence[Source]", summaries: "Sequence[Summary | None]", files: Sequence[Path]) -> int:
    """Report what was done; returns the exit status."""
    for source, summary in zip(sources, summaries, strict=True):
        if summary is not None:
            rate = summary.frames / summary.seconds
            dropped = f", {summary.dropped} dropped to stay live" if summary.dropped else ""
            name = f"{source.name}: " if len(sources) > 1 else ""
            say(f"{name}{summary.frames} frames in {summary.seconds:.1f} s ({rate:.1f} fps){dropped}")
    if any(summary is None or summary.frames for summary in summaries):
        for path in filter(Path.exists, files):  # on a full disk there may be none
            say(f"wrote {path}")
    problems = [problem for source in sources for problem in source.problems]
    for problem in problems:
        tell(problem)
    return 1 if problems or None in summaries else 0
