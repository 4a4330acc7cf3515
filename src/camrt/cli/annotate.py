"""``camrt annotate``: draw the maps over images, videos and folders, every frame once."""

import argparse
from pathlib import Path
from typing import Any

from camrt.cli.common_flags import add_session_flags, open_model, stop_on_signals
from camrt.cli.display_flags import add_display_flags, settings_of
from camrt.cli.messages import say, tell


def add(commands: Any) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "annotate",
        help="draw the map over images, videos and folders",
        description="Draw the class activation map over every frame of images, videos and folders, in order.",
        epilog="example: camrt annotate model.onnx photos holiday.mp4 -o annotated",
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="file made by camrt attach or export")
    parser.add_argument("inputs", nargs="+", type=Path, metavar="INPUT", help="image, video or folder")
    parser.add_argument(
        "--output",
        "-o",
        required=True,
        type=Path,
        metavar="OUT",
        help="folder; for a single image or video also a file",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    add_display_flags(parser)
    add_session_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Annotate all inputs; returns 1 if a file was skipped."""
    from camrt.runtime.stream.annotate import Annotator, plan

    jobs = plan(args.inputs, args.output, overwrite=args.overwrite)
    model = open_model(args.model, args.provider, args.threads, args.provider_option)
    settings = settings_of(args, model, live=False)
    annotator = Annotator(model, settings, hud=not args.no_hud, overwrite=args.overwrite)
    stop_on_signals(annotator.stop)
    problems = annotator.run(jobs)
    done = len(annotator.written)
    frames = f" ({annotator.frames} frames)" if annotator.frames != done else ""
    say(f"wrote {done} of {len(jobs)} files{frames} to {args.output}")
    for remark in annotator.remarks:
        tell(remark)
    for problem in problems:
        tell(problem)
    if annotator.stopped:
        tell("stopped before the end; use --overwrite to start again")
    return 1 if problems or annotator.stopped else 0
