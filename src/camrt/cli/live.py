"""``camrt live``: one stream, or several, with the map over them as they come."""

import argparse
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from camrt.cli.common_flags import (
    add_session_flags,
    add_steady_flags,
    add_style_flags,
    open_model,
    stop_on_signals,
    view_of,
)
from camrt.cli.recording import check_files, files_of, keeps_pictures, open_recorders
from camrt.cli.reload import Reloader
from camrt.cli.rotation_flags import add_rotation_flags
from camrt.cli.serve_flags import add_serve_flags, serve
from camrt.cli.systemd import Notifier
from camrt.cli.window import Watcher
from camrt.errors import CamrtError, UsageError

if TYPE_CHECKING:
    from camrt.runtime.frames import Rendered, Source
    from camrt.runtime.stream.pipeline import Summary


def add(commands: Any) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "live",
        help="draw the map over a camera, a stream or a file",
        description="Draw the class activation map over a camera, a stream or a file: in a window, a browser or files.",
        epilog="example: camrt live model.onnx --source 0      (keys in the window: ? lists them)",
    )
    parser.add_config_flag()
    parser.add_argument("model", type=Path, metavar="MODEL", help="file made by camrt attach or export")
    parser.add_argument(
        "--source",
        action="append",
        metavar="S",
        help="camera number (default 0) or device, video, rtsp:// or http:// URL, picture, folder, glob, 'picamera2', "
        "gst:PIPELINE, 'synthetic'; repeatable: several are watched at once",
    )
    parser.add_argument(
        "--output",
        "-o",
        action="append",
        type=Path,
        default=[],
        metavar="FILE",
        help="write a video (by its suffix: .mp4 .avi ...) or, to a folder, pictures; repeatable; 'none' keeps "
        "nothing; of several sources each has its own, with its number in the name",
    )
    parser.add_argument("--events", metavar="FILE", help="write one JSON line a frame; - is standard output")
    parser.add_argument("--window", action="store_true", help="show a window even with --output, --events or --serve")
    parser.add_argument("--sync", action="store_true", help="show only frames that were classified, each with its map")
    parser.add_argument("--frames", type=int, metavar="N", help="stop after N frames, of each source")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    add_serve_flags(parser)
    add_rotation_flags(parser)
    add_style_flags(parser)
    add_steady_flags(parser)
    add_session_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run until the sources end, or Ctrl-C, SIGTERM, the key q."""
    from camrt.cli import parse
    from camrt.runtime.inference.dynamic_batching import BatchingModel, fastest_batch
    from camrt.runtime.render.renderer import Renderer
    from camrt.runtime.stream.pipeline import Pipeline
    from camrt.runtime.stream.pipeline_group import PipelineGroup

    if args.frames is not None and args.frames < 1:
        raise UsageError(f"--frames {args.frames}: at least one")
    texts = args.source or ["0"]
    files = files_of(args, len(texts))
    check_files(files, keep=[args.model, *map(Path, texts)])
    model = open_model(args.model, args.provider, args.threads, args.provider_option)
    view_of(args, model, live=True)  # what is wrong with it is told before anything is opened
    notifier = Notifier()
    with ExitStack() as opened:  # whatever happens before the pipelines see to it; to close twice does no harm
        sources = _open_sources(texts, opened)
        live = all(source.live for source in sources)
        view = view_of(args, model, live=live)
        reloader = Reloader(args, lambda: parse(args.words), model, view, tell, live=live)
        recorders = open_recorders(args, sources, opened, tell)
        hub = serve(args, model, view, [source.name for source in sources], opened)
        watcher = Watcher(args, view, sources, opened, served=hub is not None)
        classify = model if len(sources) == 1 else BatchingModel(model, fastest_batch(model, len(sources)))
        # For the browser the hub draws what is watched, when it is.
        how: dict[str, Any] = {
            "hud": not args.no_hud,
            "provider": model.provider,
            "threads": model.spare_threads,
            "paints": watcher.window is not None or keeps_pictures(args),
        }
        renderers: list[Renderer] = []
        pipelines: list[Pipeline] = []
        for number, source in enumerate(sources):
            renderers.append(Renderer(view, **how))
            sinks = [*watcher.sinks(number), *recorders[number], *([] if hub is None else [hub.sink(number)])]
            pipelines.append(
                Pipeline(
                    classify,
                    source,
                    renderers[number],
                    sinks,
                    every_camera_frame=not args.sync,
                    paced=watcher.window is not None or hub is not None,
                )
            )
        seen = [0] * len(sources)

        def on_frame(number: int, rendered: "Rendered") -> None:
            seen[number] += rendered.result is not None  # what is shown without a signal was not seen
            watcher.look(number, rendered, renderers[number])
            notifier.drawn()
            if view.quit or seen[number] == args.frames:
                pipelines[number].stop()

        def stop() -> None:
            notifier.stopping()
            view.quit = True  # ends a pause
            for pipeline in pipelines:
                pipeline.stop()

        def attend(watch: Callable[[], None]) -> None:
            watch()
            reloader.apply()
            if view.quit:
                stop()

        stop_on_signals(stop)
        names = ", ".join(source.name for source in sources)
        _say(f"{names}: {model.path.name} on {model.provider}, {model.threads} threads; Ctrl-C stops")
        if len(sources) == 1:

            def on_only_frame(rendered: "Rendered") -> None:
                on_frame(0, rendered)
                reloader.apply()

            summaries: list[Summary | None] = [pipelines[0].run(on_only_frame, lambda: attend(watcher.wait))]
        else:

            def on_failure(number: int, error: BaseException) -> None:
                tell(f"{sources[number].name} has ended: {error}")

            outcomes = PipelineGroup(pipelines).run(on_frame, lambda: attend(watcher.follow), on_failure)
            summaries = [_summary_of(outcome) for outcome in outcomes]
        notifier.stopping()
    return _conclude(sources, summaries, files)


def _open_sources(texts: Sequence[str], opened: ExitStack) -> "list[Source]":
    """Open all of them at once, for one that does not answer takes its time.

    Of several, a camera or stream that is not there is waited for, as one is that goes; alone it is an error.
    """
    from camrt.runtime.sources import open_source

    patient = len(texts) > 1
    waiting: list[Future[Source]] = [Future() for _ in texts]

    def open_one(number: int) -> None:
        try:
            waiting[number].set_result(open_source(texts[number], patient=patient, tell=_say))
        except BaseException as error:  # noqa: BLE001 - raised again by `Future.result`
            waiting[number].set_exception(error)

    # Daemons, and no pool of threads: Python waits at its end for those of a pool, so that Ctrl-C would, too.
    for number in range(len(texts)):
        Thread(target=open_one, args=(number,), name=f"open {number}", daemon=True).start()
    for one in waiting:
        if one.exception() is None:
            opened.callback(one.result().close)
    sources = [one.result() for one in waiting]
    taken: set[str] = set()
    for source in sources:
        name, number = source.name, 1
        while source.name in taken:
            number += 1
            source.name = f"{name} ({number})"
        taken.add(source.name)
    return sources


def _summary_of(outcome: "Summary | BaseException") -> "Summary | None":
    if isinstance(outcome, CamrtError):
        return None  # told when it happened
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def _conclude(sources: "Sequence[Source]", summaries: "Sequence[Summary | None]", files: Sequence[Path]) -> int:
    """Say what came of it; returns the exit status."""
    for source, summary in zip(sources, summaries, strict=True):
        if summary is not None:
            rate = summary.frames / summary.seconds
            dropped = f", {summary.dropped} dropped to stay live" if summary.dropped else ""
            name = f"{source.name}: " if len(sources) > 1 else ""
            _say(f"{name}{summary.frames} frames in {summary.seconds:.1f} s ({rate:.1f} fps){dropped}")
    if any(summary is None or summary.frames for summary in summaries):
        for path in filter(Path.exists, files):  # on a full disk there may be none
            _say(f"wrote {path}")
    problems = [problem for source in sources for problem in source.problems]
    for problem in problems:
        tell(problem)
    return 1 if problems or None in summaries else 0


def tell(line: str) -> None:
    """Print a line for the user."""
    _say(f"camrt: {line}")


def _say(line: str) -> None:
    with suppress(OSError):  # where it goes to a file, the disk may be full, and the picture is to go on
        print(line, file=sys.stderr, flush=True)
