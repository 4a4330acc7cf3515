"""``camrt eval``: measure classes and maps of model files on labelled images."""

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camrt.cli.common_flags import add_head_flag, add_session_flags, open_model
from camrt.cli.messages import say
from camrt.errors import UsageError

if TYPE_CHECKING:
    from camrt.runtime.evaluation.datasets.labelled import Dataset
    from camrt.runtime.evaluation.evaluation import Evaluation
    from camrt.runtime.evaluation.map_provider import MapProvider
    from camrt.runtime.evaluation.partial_results import PartialResults
    from camrt.runtime.inference.model import Model

EPILOG = """\
examples:
  camrt eval model.onnx photos                        a folder for each class
  camrt eval model.onnx VOC2012 --csv images.csv      XML in Annotations, images in JPEGImages
  camrt eval model.onnx boxes.csv --compare model.int8.onnx
  camrt eval model.onnx photos --faithfulness all --resume photos.partial
  camrt eval maps.parquet VOC2012                     maps that camrt collect has stored
  camrt eval model.onnx boxes.csv --refine clamp,ivr --refine flip

A table of boxes has the titles file,class,x0,y0,x1,y1 (x1 and y1 exclusive). Masks are PNG files, a_mask.png beside
a.jpg or masks/a.png. Values are fractions; intervals of 95 % come from 1000 draws of the images.
"""
_SKIPPED_SHOWN = 10


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = commands.add_parser(
        "eval",
        help="measure how right classes and maps are, on labelled images",
        description="Measure the classes of a model file, and on images with boxes or masks how well its maps find "
        "the object: MaxBoxAcc, MaxBoxAccV2 and PxAP as Choe et al. (CVPR 2020) define them, pointing game, energy, "
        "and the boxes that camrt live draws. Further forward passes measure how faithful the maps are: insertion and "
        "deletion, average drop and increase, ADCC, ROAD, and sanity checks. Each value has an interval and stands "
        "beside simple baselines.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model",
        metavar="MODEL|MAPS",
        type=Path,
        help="model file from camrt attach, export or quantize; or a store of maps from camrt collect",
    )
    parser.add_argument(
        "data",
        metavar="DATA",
        type=Path,
        help="folder with one folder for each class, Pascal VOC XML, COCO JSON or a CSV; or the .json or .csv file",
    )
    parser.add_argument(
        "--compare",
        metavar="MODEL",
        type=Path,
        nargs="+",
        default=[],
        help="also evaluate these files, and tell which differences to the first exceed the paired interval",
    )
    parser.add_argument(
        "--refine",
        metavar="NAMES",
        action="append",
        default=[],
        help="also evaluate MODEL with refined maps: clamp, pc1, ivr, flip (a second pass), or several with commas; "
        "repeatable. The differences are to the plain maps",
    )
    parser.add_argument(
        "--format",
        choices=("folder", "voc", "coco", "csv", "json"),
        help="form of the labels (default: found out by looking)",
    )
    parser.add_argument("--masks", metavar="FOLDER", type=Path, help="folder of masks (default: beside the images)")
    parser.add_argument(
        "--classes",
        metavar="FILE",
        type=Path,
        help="table from the classes of the data to labels of the model: lines 'class,label' or 'n02123045 tabby'",
    )
    parser.add_argument("--allow-unmatched", action="store_true", help="leave out classes that the model does not know")
    parser.add_argument(
        "--faithfulness",
        metavar="N",
        type=_number_or_all,
        default=30,
        help="number of images for the metrics of faithfulness, or 'all'; about 200 forward passes each (default: 30)",
    )
    parser.add_argument(
        "--resume",
        metavar="FILE",
        type=Path,
        help="keep the results of each image in FILE until the end; if it exists, go on from there",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--csv", metavar="FILE", type=Path, help="write one line for each image and class")
    parser.add_argument("--html", metavar="FILE", type=Path, help="write a page with the worst and the best images")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    add_head_flag(parser)
    add_session_flags(parser)
    parser.set_defaults(run=run)


def _number_or_all(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of images nor 'all'")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Read the labels, evaluate every model, report."""
    from camrt.files import check_target, write_file
    from camrt.runtime.evaluation.datasets.read import read_dataset
    from camrt.runtime.evaluation.evaluate import evaluate
    from camrt.runtime.evaluation.map_sources import BASELINES
    from camrt.runtime.inference.model import Model
    from camrt.runtime.maps.refinement import check_refinements, parse_refinements
    from camrt.runtime.report.evaluation import page

    for target in (args.csv, args.html):
        if target is not None:
            check_target(target, args.model, overwrite=args.overwrite)
    wanted = [parse_refinements(names) for names in args.refine]
    paths = [args.model, *args.compare]
    models = [_open(path, args) for path in paths]
    for names in wanted:
        if isinstance(models[0], Model):
            check_refinements(names, weights=models[0].decoder.cam_weights is not None)
        elif names:
            raise UsageError(f"{args.model}: --refine needs the model; a store has plain maps")
    dataset = read_dataset(args.data, args.format, masks=args.masks, classes=args.classes)
    runs = [(model, "none") for model in models] + [(models[0], names) for names in args.refine]
    with _partial_results(args, models, dataset) as partial:
        evaluations = [
            evaluate(
                model,
                dataset,
                baselines=BASELINES if refine == "none" else (),
                allow_unmatched=args.allow_unmatched,
                refine=refine,
                faithfulness=args.faithfulness,
                partial=None if partial is None else partial.section(number),
            )
            for number, (model, refine) in enumerate(runs)
        ]
        first = evaluations[0]
        if args.csv is not None:
            write_file(args.csv, first.to_csv().encode("utf-8", "backslashreplace"))
        if args.html is not None:
            write_file(args.html, page(first, dataset, models[0]).encode("utf-8", "backslashreplace"))
        if args.json:
            print(json.dumps(_report(evaluations), indent=2, ensure_ascii=False))
        else:
            _print(evaluations, dataset)
    return 0


@contextmanager
def _partial_results(
    args: argparse.Namespace, models: Sequence["Model | MapProvider"], dataset: "Dataset"
) -> Iterator["PartialResults | None"]:
    """Open the file of ``--resume``, and remove it when all is reported; None: there is no such file."""
    if args.resume is None:
        yield None
        return
    from camrt.files import check_target
    from camrt.runtime.evaluation.partial_results import PartialResults, settings_of
    from camrt.runtime.inference.model import Model

    running = [model for model in models if isinstance(model, Model)]
    if len(running) < len(models):
        raise UsageError("--resume is for model files; stored maps are evaluated without the model")
    for other in (args.csv, args.html):
        if other is not None and other.absolute() == args.resume.absolute():
            raise UsageError(f"{other} is both a report and the file of --resume; name two files")
    check_target(args.resume, args.model, overwrite=True)
    options = {"--allow-unmatched": args.allow_unmatched, "--faithfulness": args.faithfulness, "--refine": args.refine}
    partial = PartialResults(args.resume, settings_of(running, dataset, **options))
    if partial.images:
        say(f"{args.resume} has the results of {partial.images} images; the others follow")
    finished = False
    try:
        yield partial
        finished = True
    finally:
        partial.close(finished=finished)
        if not finished and args.resume.exists():
            say(f"{args.resume} keeps the results so far; the same command goes on from there")


def _open(path: Path, args: argparse.Namespace) -> "Model | MapProvider":
    """Open a model file, or a store of maps, which is a folder."""
    from camrt.runtime.collect.store import MapStore
    from camrt.runtime.collect.stored_maps import StoredMaps

    if path.is_dir():
        store = MapStore(path)
        if args.head not in (None, store.manifest.head):
            raise UsageError(f"{path} has the maps of head {store.manifest.head!r}; leave out --head {args.head}")
        return StoredMaps(store)
    return open_model(path, args.provider, args.threads, args.provider_option, args.head)


def _report(evaluations: Sequence["Evaluation"]) -> dict[str, Any]:
    first, *others = evaluations
    report = first.as_dict()
    if others:
        report["compared"] = [
            {
                **other.as_dict(),
                "differences": {
                    one.metric: {
                        "difference": one.difference,
                        "confidence_interval": list(one.interval),
                        "exceeds_interval": one.clear,
                    }
                    for one in first.compare(other)
                },
            }
            for other in others
        ]
    return report


def _print(evaluations: Sequence["Evaluation"], dataset: "Dataset") -> None:
    from camrt.runtime.evaluation.evaluation import difference_table

    first, *others = evaluations
    for evaluation in evaluations:
        refined = "" if evaluation.refine == "none" else f", {evaluation.refine},"
        print(f"{evaluation.model}{refined} on {evaluation.images} images of {dataset.name} ({dataset.format})\n")
        print(evaluation.table())
        if evaluation.best_threshold is not None:
            print(
                f"\nthreshold in use: {evaluation.threshold:.2f} of the map's maximum; MaxBoxAcc is at "
                f"{evaluation.best_threshold:.2f}"
            )
        if evaluation.cost is not None:
            cost = evaluation.cost.as_dict()
            print(
                f"\nfrom insertion AUC on: {cost['images']} images, {cost['passes_per_image']:.0f} forward passes and "
                f"{cost['seconds_per_image']:.1f} s each (--faithfulness)"
            )
        print()
        for remark in evaluation.remarks:
            say(remark)
        for one in evaluation.skipped[:_SKIPPED_SHOWN]:
            say(f"skipped: {one.reason}")
        if len(evaluation.skipped) > _SKIPPED_SHOWN:
            say(f"skipped: {len(evaluation.skipped) - _SKIPPED_SHOWN} more images; --json lists all")
    for other in others:
        print(difference_table(first.compare(other), first.title, other.title))
