"""``camrt audit``: search for shortcuts, and prove them by experiments."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from camrt.cli.common_flags import add_head_flag, add_session_flags, open_model
from camrt.cli.messages import say, tell
from camrt.errors import UsageError

if TYPE_CHECKING:
    from camrt.runtime.audit.repair import Repair
    from camrt.runtime.audit.result import Audit

EPILOG = """\
examples:
  camrt audit model.onnx photos                       a folder for each class
  camrt audit model.onnx photos -o report             write a page, JSON, tables and boxes into a folder
  camrt audit model.onnx photos --fail-on any         exit status 1 where something is found
  camrt audit int8.onnx photos --baseline report --fail-on worse     compare with the report of another model
  camrt audit model.onnx photos --group-by exif:Model                compare cameras
  camrt audit model.onnx maps.parquet                 maps that camrt collect has stored
  camrt audit model.onnx photos --repair 1 -o fixed.onnx             take the first finding out of the model

A finding is a part or a property of images, other than the object, that decides: images of other classes get it, images
of the class lose it, and answers flip in both directions, more than by the same change without it.
"""
_NEEDS: Final = {"new": "baseline", "worse": "baseline", "group": "group_by"}
"""Values of --fail-on that need another option."""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = commands.add_parser(
        "audit",
        help="find out whether the model decides by the wrong parts of images",
        description="Search for shortcuts of a model on labelled images: marks, borders, backgrounds, patterns, colour "
        "casts, compression. Each finding is proved by experiments with forward passes.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="model file from camrt attach, export or quantize")
    parser.add_argument(
        "data",
        metavar="DATA",
        type=Path,
        help="folder with one folder for each class, Pascal VOC XML, COCO JSON or a CSV; the .json or .csv file; or a "
        "store of labelled maps from camrt collect",
    )
    parser.add_argument(
        "--passes",
        metavar="N",
        type=int,
        default=40_000,
        help="forward passes of the experiments, about 2500 a class (default: 40000)",
    )
    parser.add_argument(
        "--fail-on",
        metavar="KIND",
        action="append",
        default=[],
        help="exit status 1 if there is a finding of this kind, or of 'any'; 'new', 'worse' (--baseline): a finding "
        "that the baseline lacks, or also a larger one or a clear loss of accuracy; 'group' (--group-by): a group "
        "differs; repeatable",
    )
    parser.add_argument(
        "-o",
        "--out",
        metavar="FOLDER|FILE",
        type=Path,
        help="write report.html, report.json, tables and boxes into FOLDER; with --repair the new model file",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an older report in FOLDER, or FILE")
    parser.add_argument(
        "--repair",
        metavar="FINDING",
        help="write a model file with -o that does not use a finding: its number in the list, or KIND:CLASS. Held-out "
        "images tell what changes; exit status 1 and no file where nothing gets better",
    )
    parser.add_argument(
        "--group-by",
        metavar="HOW",
        help="compare groups of images: folder (sub-folders of the classes), exif:TAG (such as exif:Model), or a "
        "column of the CSV of labels",
    )
    parser.add_argument(
        "--baseline",
        metavar="REPORT",
        type=Path,
        help="report.json of an earlier audit, or its folder: findings and classes are compared with it",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the choice of images (default: 0)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_head_flag(parser)
    add_session_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Audit and report; returns 1 if there is a finding of a kind of ``--fail-on``."""
    from camrt.runtime.audit.audit import KINDS, audit
    from camrt.runtime.audit.report.write import check_folder

    if args.repair is not None:
        return _repair(args)
    for kind in args.fail_on:
        if kind not in (*KINDS, "any", *_NEEDS):
            raise UsageError(f"--fail-on {kind}: unknown kind; known are any, {', '.join((*KINDS, *_NEEDS))}")
        if kind in _NEEDS and getattr(args, _NEEDS[kind]) is None:
            raise UsageError(f"--fail-on {kind} needs --{_NEEDS[kind].replace('_', '-')}")
    if args.out is not None:
        check_folder(args.out, overwrite=args.overwrite)
    model = open_model(args.model, args.provider, args.threads, args.provider_option, args.head)
    result = audit(model, args.data, passes=args.passes, seed=args.seed, group_by=args.group_by, baseline=args.baseline)
    page = None if args.out is None else result.write_report(args.out, overwrite=args.overwrite)
    if args.json:
        print(result.to_json())
    else:
        _print(result)
    if page is not None:
        say(f"wrote {page}")
    reasons = _failures(result, args.fail_on)
    for reason in reasons:
        tell(f"--fail-on: {reason}")
    return 1 if reasons else 0


def _repair(args: argparse.Namespace) -> int:
    """Fit the head without a finding and write the file; returns 1, without a file, if nothing gets better."""
    from camrt.export.replace_head import replace_head
    from camrt.files import check_target
    from camrt.runtime.audit.repair import repair

    if args.out is None:
        raise UsageError("--repair needs a file to write: -o fixed.onnx")
    for flag, value in (("--fail-on", args.fail_on), ("--group-by", args.group_by), ("--baseline", args.baseline)):
        if value:
            raise UsageError(f"{flag} does not go with --repair; audit the new file with it")
    check_target(args.out, args.model, overwrite=args.overwrite)
    model = open_model(args.model, args.provider, args.threads, args.provider_option, args.head)
    result = repair(model, args.data, args.repair, passes=args.passes, seed=args.seed)
    if result.better:
        replace_head(
            args.model,
            args.out,
            weights=result.weights,
            bias=result.bias,
            images=result.checked,
            origin={"repaired": f"{result.finding.kind} of {result.finding.label}"},
            overwrite=args.overwrite,
        )
    if args.json:
        print(json.dumps({**result.as_dict(), "output": str(args.out) if result.better else None}, indent=2))
    else:
        _print_repair(result)
    if not result.better:
        tell("the repair does not make held-out images better, so no file was written")
        return 1
    if not result.reached:
        tell("the repair gives less than half of the lost accuracy back, or costs more than a point elsewhere")
    say(f"wrote {args.out}")
    return 0


def _print_repair(result: "Repair") -> None:
    label = result.finding.label
    print(f"{result.finding.title}\n\nright answers on {len(result.held_out)} held-out images  before  after")
    for name, words in (
        ("own", f"{label!r} as they are"),
        ("own_without", f"{label!r} without the evidence"),
        ("others", "others as they are"),
        ("others_with", "others with the evidence"),
    ):
        before, after = (getattr(one, name) for one in (result.before, result.after))
        print(f"  {words:<42}  {before:>6.0%}  {after:>5.0%}")


def _failures(result: "Audit", kinds: Sequence[str]) -> list[str]:
    """Return the reasons for exit status 1."""
    reasons = []
    if count := sum(one.kind in kinds or "any" in kinds for one in result.findings):
        reasons.append(f"{count} findings of {', '.join(kinds)}")
    if result.comparison is not None:
        states = [one.state for one in result.comparison.findings]
        if ("new" in kinds or "worse" in kinds) and (count := states.count("new")):
            reasons.append(f"{count} findings that the baseline lacks")
        if "worse" in kinds and (count := states.count("larger")):
            reasons.append(f"{count} findings with a larger effect than in the baseline")
        lost = [one.label for one in result.comparison.differences if one.clear and one.is_loss]
        if "worse" in kinds and lost:
            reasons.append(f"{len(lost)} classes with a clear loss of accuracy: {', '.join(lost[:5])}")
    if "group" in kinds and result.grouping is not None:
        names = [one.name for one in result.grouping.groups if one.differs]
        if names:
            reasons.append(f"{len(names)} groups differ: {', '.join(names[:5])}")
    return reasons


def _print(result: "Audit") -> None:
    print(f"{result.model} on {result.images} images of {len(result.classes)} classes of {result.dataset}\n")
    if result.clean:
        print(
            f"clean: none of {result.tests} experiments on {result.tested_classes} classes rises above the noise floor"
        )
    for number, one in enumerate(result.findings, 1):
        low, high = one.interval
        print(f"{number}. {one.title}")
        print(f"   {one.kind}, effect {one.effect:.0%} ({low:.0%} to {high:.0%}), p {one.p_value:.1g}")
        print(f"   images: {', '.join(one.images[:3])}")
    width = max(len("class"), *(len(one.label) for one in result.classes))
    print(f"\n{'class':<{width}}  images  right  score  map on object  mostly confused with")
    for summary in result.classes:
        share = "-" if summary.on_object is None else f"{summary.on_object:.0%}"
        confused = ", ".join(f"{name} ({count})" for name, count in summary.confusions[:2])
        print(
            f"{summary.label:<{width}}  {summary.images:>6}  {summary.accuracy:>5.0%}  {summary.confidence:>5.2f}"
            f"  {share:>13}  {confused}"
        )
    print()
    _print_comparisons(result)
    for remark in result.remarks:
        say(remark)


def _print_comparisons(result: "Audit") -> None:
    from camrt.runtime.audit.report.comparisons import comparison_sentence, groups_sentence

    if result.comparison is not None:
        print(f"compared with {result.comparison.model} on {result.comparison.dataset}")
        print(comparison_sentence(result.comparison))
        for one in result.comparison.findings:
            effects = [f"{value:.0%}" for value in (one.before, one.after) if value is not None]
            print(f"  {one.state}: {one.kind} of {one.label!r}, effect {' to '.join(effects)}")
        for remark in result.comparison.remarks:
            say(remark)
        print()
    if result.grouping is not None:
        print(f"groups by {result.grouping.by}")
        print(groups_sentence(result.grouping))
        print()
