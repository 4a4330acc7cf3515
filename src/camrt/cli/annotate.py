"""``camrt annotate``: draw the maps over images, videos and folders, every frame once."""

import argparse
from pathlib import Path
from typing import Any

from camrt.cli.common_flags import add_session_flags, open_model, stop_on_signals
from camrt.cli.display_flags import add_display_flags, settings_of
from camrt.cli.frame_flags import add_frame_flags, transform_of
from camrt.cli.messages import say, tell
from camrt.cli.source_flags import DECODE_HELP
from camrt.errors import UsageError


def add(commands: Any) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "annotate",
        help="draw the map over images, videos and folders",
        description="Draw the class activation map over every frame of images, videos and folders, in order.",
        epilog="example: camrt annotate model.onnx photos holiday.mp4 -o annotated",
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="file made by camrt attach or export")
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="image, video, folder, or address of a picture or a video"
    )
    parser.add_argument(
        "--output",
        "-o",
        required=True,
        type=Path,
        metavar="OUT",
        help="folder; for a single image or video also a file",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.add_argument(
        "--resume", action="store_true", help="keep existing files that are whole, and make the others (again)"
    )
    parser.add_argument("--every", type=int, default=1, metavar="N", help="draw every N-th frame of a video")
    parser.add_argument("--decode", default="software", metavar="DEVICE", help=DECODE_HELP)
    add_frame_flags(parser)
    add_display_flags(parser)
    add_session_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Annotate all inputs; returns 1 if a file could not be read, or nothing was written."""
    from camrt.runtime.sources.registry import is_address
    from camrt.runtime.stream.annotate import Annotator
    from camrt.runtime.stream.annotation_addresses import open_addresses
    from camrt.runtime.stream.annotation_plan import Plan, plan
    from camrt.video_decoding.hardware_devices import check_decoding

    if args.every < 1:
        raise UsageError(f"--every {args.every}: at least 1")
    if args.resume and args.overwrite:
        raise UsageError("--resume keeps files that --overwrite replaces; name one of them")
    check_decoding(args.decode)
    transform = transform_of(args)
    urls = [text for text in args.inputs if is_address(text)]
    paths = [Path(text) for text in args.inputs if not is_address(text)]
    if urls and args.resume:
        raise UsageError("--resume keeps files, and an address may have changed; leave one of them out")
    planned = plan(paths, args.output, overwrite=args.overwrite, resume=args.resume) if paths else Plan([])
    model = open_model(args.model, args.provider, args.threads, args.provider_option, args.head)
    told = model.remarks
    annotator = Annotator(
        model,
        settings_of(args, model, live=False),
        hud=not args.no_hud,
        overwrite=args.overwrite,
        resume=args.resume,
        transform=transform,
        every=args.every,
        enlarge=args.scale_output,
        decode=args.decode,
    )
    addresses = open_addresses(
        urls,
        args.output,
        [job.target for job in planned.jobs],
        overwrite=args.overwrite,
        decode=args.decode,
        tell=annotator.remarks.append,
    )
    stop_on_signals(annotator.stop)
    problems = planned.problems + annotator.run_addresses(addresses) + annotator.run(planned.jobs)
    done, total = len(annotator.written), len(planned.jobs) + len(planned.problems) + len(urls)
    frames = f" ({annotator.frames} frames)" if annotator.frames != done else ""
    kept = f", {annotator.kept} were whole already" if annotator.kept else ""
    left_out = f", {planned.left_out_count} left out" if planned.left_out_count else ""
    say(f"wrote {done} of {total} files{frames} to {args.output}{kept}{left_out}")
    later = [remark for remark in model.remarks if remark not in told]
    for line in (*planned.left_out, *later, *annotator.remarks, *problems):
        tell(line)
    if annotator.stopped:
        tell("stopped before the end; --resume goes on")
    return 1 if problems or annotator.stopped or not (done or annotator.kept) else 0
