"""``camrt train``: train a classifier on a folder of images, and make a verified model file of it."""

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camrt.cli.messages import say
from camrt.errors import MissingExtra, UsageError

if TYPE_CHECKING:
    from camrt.export.train.report import TrainingReport

EPILOG = """\
examples:
  camrt train photos -o runs/photos                       a folder for each class, or train/, val/ and test/ of them
  camrt train photos -o runs/short --time 10m --int8
  camrt train photos -o runs/photos --resume              go on after an interruption, with the same result
  camrt train photos -o runs/mobile --backbone torchvision:mobilenet_v2 --weights mobilenet_v2.pth

FOLDER gets model.onnx, best.pt, last.pt, results.csv, per_class.csv, curves.png, confusion.png, a contact sheet of the
maps after each epoch (maps/), their time-lapse (timelapse.mp4), report.json, args.toml, which --config reads, and
report.html and audit.json, which camrt audit makes of the validation images.
"""
_CLASSES_SHOWN = 3
_AUDIT_PASSES = 10_000
"""Forward passes of the audit: about four classes, the most suspicious ones."""
_UNITS = {"s": 1, "m": 60, "h": 3600}


def add(commands: "argparse._SubParsersAction[Any]") -> None:
    """Register the command."""
    parser = commands.add_parser(
        "train",
        help="train a classifier on a folder of images",
        description="Train a classifier whose class activation maps are exact, watch its maps while it learns, and "
        "make a verified model file of it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "data",
        metavar="DATA",
        type=Path,
        help="folder with one folder for each class, or with train, val and test of these; or a CSV with file,class",
    )
    parser.add_argument("-o", "--out", metavar="FOLDER", type=Path, required=True, help="write all results here")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted training in the folder")
    parser.add_argument("--json", action="store_true", help="print the report as JSON; epochs go to standard error")
    parser.add_config_flag()
    network = parser.add_argument_group("network")
    network.add_argument(
        "--backbone",
        metavar="NAME",
        default="gap-s",
        help="gap-xs, gap-s (default), gap-m, gap-l, torchvision:NAME, timm:NAME, or package.module:FACTORY",
    )
    network.add_argument("--weights", metavar="FILE", help="pretrained weights of the backbone (default: random)")
    network.add_argument("--download", action="store_true", help="let torchvision or timm download its weights")
    network.add_argument(
        "--size",
        metavar="PIXELS",
        type=int,
        help="side of the input (default: of the images, 128 at most; 224 for torchvision and timm)",
    )
    network.add_argument("--fine", action="store_true", help="double the rows and columns of the model file's maps")
    network.add_argument("--int8", action="store_true", help="write model.int8.onnx too, with a report of its fidelity")
    recipe = parser.add_argument_group("training")
    recipe.add_argument("--epochs", metavar="N", type=int, help="default: as many as show 120000 images, 30 to 300")
    recipe.add_argument("--time", metavar="TIME", type=seconds, help="train as long as this, like 90s, 10m or 2h")
    recipe.add_argument("--batch", metavar="N", type=int, default=32, help="images in a step (default 32)")
    recipe.add_argument(
        "--learning-rate", metavar="X", type=float, help="the highest (default 0.003, with weights 0.001)"
    )
    recipe.add_argument(
        "--augment", choices=("none", "light", "strong"), default="light", help="crops and colours (default light)"
    )
    recipe.add_argument("--no-flip", action="store_true", help="do not mirror images: left and right differ")
    recipe.add_argument(
        "--patience",
        metavar="N",
        type=int,
        default=25,
        help="stop after N epochs without a better top-1, 0 never (default 25)",
    )
    recipe.add_argument("--seed", metavar="N", type=int, default=0, help="of weights, order and crops (default 0)")
    recipe.add_argument("--deterministic", action="store_true", help="on a GPU, repeat exactly; slower")
    parser.set_defaults(run=run)


def seconds(text: str) -> float:
    """Parse ``--time``: a number with s, m or h; without, seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip().lower())
    if match is None or float(match[1]) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time above 0 like 90s, 10m or 2h")
    return float(match[1]) * _UNITS[match[2] or "s"]


def run(args: argparse.Namespace) -> int:
    """Train, export, report. Raises: CamrtError."""
    # OpenMP's threads spin while they wait. Beside another busy process a step then takes eight times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from camrt.export.train.fit import LAST
    from camrt.export.train.recipe import Recipe
    from camrt.export.train.train import train

    recipe = Recipe(
        backbone=args.backbone,
        weights=args.weights,
        time_s=args.time,
        batch=args.batch,
        learning_rate=args.learning_rate,
        augment=args.augment,
        flip=not args.no_flip,
        patience=args.patience,
        seed=args.seed,
        deterministic=args.deterministic,
    )
    for name in ("size", "epochs"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise UsageError(f"--{name} {getattr(args, name)} must be at least 1")
    line = say if args.json else _print_line
    try:
        report = train(
            args.data,
            args.out,
            recipe,
            size=args.size,
            epochs=args.epochs,
            download=args.download,
            fine=args.fine,
            int8=args.int8,
            resume=args.resume,
            on_remark=say,
            on_epoch=lambda epoch, epochs: line(_epoch_line(epoch, epochs)),
        )
    except KeyboardInterrupt:
        if (args.out / LAST).is_file():
            say(f"{args.out} holds all finished epochs; go on with --resume")
        raise
    if args.json:
        print(json.dumps(report.as_dict(), indent=2, ensure_ascii=False))
    else:
        _print(report)
    _audit(args, line)
    return 0


def _audit(args: argparse.Namespace, line: Callable[[str], None]) -> None:
    """Audit the model file on the validation images, and write ``report.html`` and ``audit.json``."""
    import camrt
    from camrt.export.train.dataset import read_dataset
    from camrt.export.train.outputs import MODEL
    from camrt.files import write_file
    from camrt.runtime.audit.audit import audit
    from camrt.runtime.audit.report.page import page
    from camrt.runtime.evaluation.datasets.labelled import Dataset, LabelledImage, Target

    samples = read_dataset(args.data, seed=args.seed).val
    images = [LabelledImage(one.name, one.path, (Target(one.label, boxes=one.boxes),)) for one in samples]
    model = camrt.load(args.out / MODEL, provider="cpu")
    try:
        found = audit(model, Dataset(str(args.data), "folder", images), passes=_AUDIT_PASSES, seed=args.seed)
    except MissingExtra as error:
        say(f"no report.html: {error}")
        return
    write_file(args.out / "report.html", page(found).encode("utf-8", "backslashreplace"))
    write_file(args.out / "audit.json", found.to_json().encode())
    if found.clean:
        line(f"  audit      no shortcut in {found.tested_classes} of {len(found.classes)} classes")
    for finding in found.findings:
        line(f"  audit      {finding.title}")


def _print_line(line: str) -> None:
    if sys.stderr.isatty():  # the bar may stand on this line
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    print(line, flush=True)


def _epoch_line(epoch: dict[str, Any], epochs: int | None) -> str:
    number = epoch["epoch"] if epochs is None else f"{epoch['epoch']:>{len(str(epochs))}}/{epochs}"
    attention = "" if epoch["attention"] is None else f"  attention on object {epoch['attention']:.0%}"
    return (
        f"epoch {number}  loss {epoch['train_loss']:.3f}  validation "
        f"{epoch['val_loss']:.3f}  top-1 {epoch['top1']:.1%}  worst {epoch['worst_class']} "
        f"{epoch['worst_recall']:.0%}{attention}  {epoch['seconds']:.1f} s"
    )


def _print(report: "TrainingReport") -> None:
    print(f"{report.model}: {len(report.classes)} classes, input {report.size}x{report.size}")
    print(f"  images     {report.train_images} to train, {report.val_images} to validate")
    note = " (these images also chose the epoch)" if report.selected_on else ""
    print(f"  top-1      {_share(report.top1, report.interval)}{note}")
    if report.near_duplicates and report.top1_without_duplicates is not None:
        print(f"             {report.top1_without_duplicates:.1%} without {report.near_duplicates} near-duplicates")
    if report.test is not None:
        print(f"  test       {_share(report.test['top1'], report.test['interval'])} of {report.test['images']} images")
    for line in report.per_class[:_CLASSES_SHOWN]:
        confused = f", most often taken for {line['most_confused_with']}" if line["most_confused_with"] else ""
        print(f"  worst      {line['class']}: {line['recall']:.0%} of {line['val_images']}{confused}")
    if report.attention is not None:
        print(f"  attention  {report.attention:.0%} of the heat lies on the object")
    print(f"  training   {report.epochs} epochs in {report.seconds:.0f} s, best {report.best_epoch}; maps took "
          f"{report.map_overhead:.1%}")  # fmt: skip
    maps = "" if report.map_error is None else f", features differ by {report.map_error:.1e} at most"
    print(f"  verified   {report.agreement:.1%} of the classes as in torch{maps}")
    if report.int8 is not None:
        print(
            f"  int8       {report.int8['top1_agreement']:.1%} of the classes the same, map correlation "
            f"{report.int8['pearson_median']:.4f}, {report.int8['size_ratio']:.2f} times smaller"
        )


def _share(value: float, interval: Sequence[float]) -> str:
    return f"{value:.1%} ({interval[0]:.1%} - {interval[1]:.1%})"
