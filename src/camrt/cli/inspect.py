"""``camrt inspect``: show the contents of a model file, and verify that its maps explain its scores."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camrt.cli.common_flags import add_head_flag, add_session_flags, open_model
from camrt.cli.export_flags import add_fix_flag, size
from camrt.cli.inspect_classifier import show_classifier
from camrt.cli.verification import describe_identity, describe_verification
from camrt.errors import MissingExtra, NoModelFile, UsageError
from camrt.model_file import EXACT
from camrt.text import one_line

if TYPE_CHECKING:
    from camrt.runtime.inference.model import Model

HEADS = {
    "linear": "features, pool, one linear layer: the maps add up to the logits, and cost nothing until shown",
    "pooled_class_maps": "one map a class, pool: the maps add up to the logits",
    "weighted_cells": "each cell has weights of its own: the maps add up to the logits",
    "per_position": "not linear: a map holds the logit of the head for each cell alone",
    "tokens": "transformer: a map holds the logit of the head for the token of each patch",
    "masked": "mixes cells: a map holds the logit with all cells but one set to zero (Recipro-CAM)",
    "saliency_map": "the output saliency_map of the source, unchanged",
}
COST = ("ms", "ms_without_maps")
"""Keys of the times that the export measured if the head runs on each cell."""


def add(commands: Any) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "inspect",
        help="show the contents of a model file; --verify checks its maps",
        description="Show the contents of a model file: head, classes, sizes, origin and verification. For an ONNX "
        "classifier, show its head and the maps that camrt attach could use.",
        epilog="example: camrt inspect model.onnx --verify photo.jpg",
    )
    parser.add_argument("model", nargs="?", type=Path, metavar="MODEL", help="model file, or an ONNX classifier")
    parser.add_argument(
        "--size", metavar="WxH", type=size, help="input size of a classifier, in pixels: needed if it is open"
    )
    parser.add_argument("--output", metavar="NAME", help="output of a classifier that gives the scores")
    add_fix_flag(parser)
    add_head_flag(parser)
    parser.add_argument(
        "--verify",
        nargs="?",
        const="",
        metavar="IMAGE",
        help="check mean(CAM) + bias = logit for every class on an image (default: noise)",
    )
    parser.add_argument("--labels", action="store_true", help="list all classes with their numbers")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    add_session_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the report. Returns 1 if the identity of a head does not hold."""
    if args.model is None and args.verify:  # `inspect --verify MODEL`: argparse gave the model to the flag
        args.model, args.verify = Path(args.verify), ""
    if args.model is None:
        raise UsageError("the model is missing: camrt inspect MODEL")
    try:
        model = open_model(args.model, args.provider, args.threads, args.provider_option, args.head)
    except NoModelFile as refusal:
        try:
            return show_classifier(args.model, args.size, args.output, dict(args.fix), as_json=args.json)
        except MissingExtra:
            raise refusal from None
    geometry, info = model.geometry, model.info
    image = None if args.verify is None else _image(args.verify, geometry.width, geometry.height)
    report: dict[str, Any] = {
        "model": str(model.path),
        **_describe_head(model, image),
        "input": {
            "width": geometry.width,
            "height": geometry.height,
            "resize": geometry.resize,
            "shorter_side": geometry.shorter_side,
            "interpolation": geometry.interpolation,
        },
        "preprocessing": dict(info.preprocessing),
        "source": dict(info.source),
        "quantization": dict(info.quantization),
        "provider": model.provider,
        "threads": model.threads,
        "precision": model.precision,
        "running_precision": model.running_precision,
        "size_bytes": model.path.stat().st_size,
    }
    if image is not None:
        report["verified_on"] = args.verify or "noise"
    if model.heads:
        report["name"] = model.head_name
        report["heads"] = [{"name": name, **_describe_head(model.with_head(name), image)} for name in model.heads]
    if args.json:
        print(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        _print(report, every_label=args.labels)
    return 0 if all(head.get("identity_holds", True) for head in report.get("heads", [report])) else 1


def _describe_head(model: "Model", image: Any) -> dict[str, Any]:
    """Return the entries of a head, and those of its verification on an image if there is one."""
    described: dict[str, Any] = {
        "head": model.head,
        "classes": model.classes,
        "features": list(model.map_shape),
        "labels": list(model.labels),
        "activation": model.info.activation,
        "map_margin": model.info.map_margin,
        "verification": dict(model.info.verification),
    }
    if image is None:
        return described
    from camrt.runtime.inference.cam_identity import check_identity

    result = model(image)
    described["top"] = [{"class_id": i, "label": label, "score": score} for i, label, score in result.top(5)]
    if model.head in EXACT:
        check = check_identity(model, result)
        described |= {
            "identity_error": check.relative,
            "identity_error_absolute": check.absolute,
            "identity_tolerance": check.tolerance,
            "identity_holds": check.holds,
        }
    return described


def _image(path: str, width: int, height: int) -> Any:
    """Read an image. Without a path, return noise that is the same each time."""
    if not path:
        import numpy as np

        return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    from camrt.images import read_image

    return read_image(Path(path))


def _print(report: dict[str, Any], *, every_label: bool) -> None:
    shape = report["input"]
    resize = shape["resize"] + (f" of {shape['shorter_side']}" if shape["shorter_side"] else "")
    shared = {
        "model": f"{report['model']} ({report['size_bytes'] / 1e6:.1f} MB)",
        "input": f"{shape['width']}x{shape['height']}, {resize}, {shape['interpolation']}",
        "preprocessing": _pairs(report["preprocessing"]),
        "source": _pairs(report["source"]),
        "quantized": _pairs(report["quantization"]) if report["quantization"] else "no",
        "provider": f"{report['provider']}, {report['threads']} threads, {report['running_precision']}",
    }
    _print_rows(shared)
    for head in report.get("heads", [report]):
        if "heads" in report:
            print()
            _print_rows({"name": head["name"]})
        _print_rows(_rows_of_head(head, report.get("verified_on", "")))
        if every_label:
            for number, label in enumerate(head["labels"]):
                print(f"{number:>6}  {one_line(label)}")


def _print_rows(rows: dict[str, str]) -> None:
    for key, value in rows.items():
        print(f"{key:<14}{one_line(value)}")


def _rows_of_head(head: dict[str, Any], verified_on: str) -> dict[str, str]:
    verification = head["verification"]
    maps = "x".join(str(side) for side in head["features"])
    rows = {
        "head": f"{head['head']} ({HEADS[head['head']]})",
        "maps": maps
        + (f"; the outer {head['map_margin']} cells on each side are padding" if head["map_margin"] else ""),
        "classes": f"{head['classes']}: {'; '.join(head['labels'][:5])}" + ("; ..." if head["classes"] > 5 else ""),
        "activation": head["activation"] or "unknown",
        "verified": describe_verification(verification) if verification else "unknown",
    }
    if "identity_error" in head:
        outcome = "holds" if head["identity_holds"] else "DOES NOT HOLD: the maps do not explain the scores"
        measured = {key: value for key, value in head.items() if key.startswith("identity_")}
        if "identity_tolerance_absolute" in verification:
            measured["identity_tolerance_absolute"] = verification["identity_tolerance_absolute"]
        rows["identity"] = f"{outcome}; on {verified_on} {describe_identity(measured)}"
    elif "top" in head:
        rows["identity"] = (
            "none: maps of this head do not add up to the logits; they were verified when the file was made"
        )
    if "top" in head:
        rows["top"] = "; ".join(f"{row['label']} {row['score']:.3f}" for row in head["top"])
    if all(key in verification for key in COST):
        ms, without = (verification[key] for key in COST)
        cost = f"took {ms - without:.2f} of {ms:.2f} ms" if ms > without else f"took no measurable part of {ms:.2f} ms"
        rows["cost"] = f"the maps {cost} an image on the machine that made the file"
    return rows


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {_short(value)}" for key, value in values.items()) or "unknown"


def _short(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(_short(item) for item in value)
    if isinstance(value, dict):
        return " ".join(f"{key.replace('_', ' ')} {_short(item)}" for key, item in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
