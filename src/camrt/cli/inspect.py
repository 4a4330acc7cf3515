"""``camrt inspect``: show the contents of a model file, and verify that its maps explain its scores."""

import argparse
import json
from pathlib import Path
from typing import Any

from camrt.cli.common_flags import add_session_flags, open_model
from camrt.cli.export_flags import size
from camrt.cli.inspect_classifier import show_classifier
from camrt.errors import MissingExtra, NoModelFile, UsageError
from camrt.model_file import EXACT
from camrt.text import one_line

HEADS = {
    "linear": "features, pool, one linear layer: the maps add up to the logits, and cost nothing until shown",
    "pooled_class_maps": "one map a class, pool: the maps add up to the logits",
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
        "--size", metavar="WxH", type=size, help="input size of a classifier with an open size, in pixels"
    )
    parser.add_argument("--output", metavar="NAME", help="output of a classifier that gives the scores")
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
    """Print the report. Returns 1 if the identity does not hold."""
    if args.model is None and args.verify:  # `inspect --verify MODEL`: argparse gave the model to the flag
        args.model, args.verify = Path(args.verify), ""
    if args.model is None:
        raise UsageError("the model is missing: camrt inspect MODEL")
    try:
        model = open_model(args.model, args.provider, args.threads, args.provider_option)
    except NoModelFile as refusal:
        try:
            return show_classifier(args.model, args.size, args.output, as_json=args.json)
        except MissingExtra:
            raise refusal from None
    geometry, info = model.geometry, model.info
    report: dict[str, Any] = {
        "model": str(model.path),
        "head": model.head,
        "classes": model.classes,
        "features": list(model.map_shape),
        "labels": list(model.labels),
        "input": {
            "width": geometry.width,
            "height": geometry.height,
            "resize": geometry.resize,
            "shorter_side": geometry.shorter_side,
            "interpolation": geometry.interpolation,
        },
        "activation": info.activation,
        "map_margin": info.map_margin,
        "preprocessing": dict(info.preprocessing),
        "source": dict(info.source),
        "verification": dict(info.verification),
        "quantization": dict(info.quantization),
        "provider": model.provider,
        "threads": model.threads,
        "size_bytes": model.path.stat().st_size,
    }
    holds = True
    if args.verify is not None:
        from camrt.runtime.inference.cam_identity import check_identity

        result = model(_image(args.verify, geometry.width, geometry.height))
        report |= {
            "verified_on": args.verify or "noise",
            "top": [{"class_id": i, "label": label, "score": score} for i, label, score in result.top(5)],
        }
        if model.head in EXACT:
            check = check_identity(model, result)
            holds = check.holds
            report |= {
                "identity_error": check.relative,
                "identity_error_absolute": check.absolute,
                "identity_tolerance": check.tolerance,
                "identity_holds": holds,
            }
    if args.json:
        print(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        _print(report, every_label=args.labels)
    return 0 if holds else 1


def _image(path: str, width: int, height: int) -> Any:
    """Read an image. Without a path, return noise that is the same each time."""
    if not path:
        import numpy as np

        return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    from camrt.images import read_image

    return read_image(Path(path))


def _print(report: dict[str, Any], *, every_label: bool) -> None:
    shape, verification = report["input"], report["verification"]
    maps = "x".join(str(side) for side in report["features"])
    resize = shape["resize"] + (f" of {shape['shorter_side']}" if shape["shorter_side"] else "")
    rows = {
        "model": f"{report['model']} ({report['size_bytes'] / 1e6:.1f} MB)",
        "head": f"{report['head']} ({HEADS[report['head']]})",
        "maps": maps
        + (f"; the outer {report['map_margin']} cells on each side are padding" if report["map_margin"] else ""),
        "input": f"{shape['width']}x{shape['height']}, {resize}, {shape['interpolation']}",
        "preprocessing": _pairs(report["preprocessing"]),
        "classes": f"{report['classes']}: {'; '.join(report['labels'][:5])}"
        + ("; ..." if report["classes"] > 5 else ""),
        "activation": report["activation"] or "unknown",
        "source": _pairs(report["source"]),
        "verified": _pairs({key: value for key, value in verification.items() if key not in COST}),
        "quantized": _pairs(report["quantization"]) if report["quantization"] else "no",
        "provider": f"{report['provider']}, {report['threads']} threads",
    }
    if "identity_error" in report:
        outcome = "holds" if report["identity_holds"] else "DOES NOT HOLD: the maps do not explain the scores"
        rows["identity"] = (
            f"{outcome}; on {report['verified_on']} mean(CAM) + bias is within {report['identity_error']:.1e} of the "
            f"logits (allowed {report['identity_tolerance']:.1e})"
        )
    elif "top" in report:
        rows["identity"] = (
            "none: maps of this head do not add up to the logits; they were verified when the file was made"
        )
    if "top" in report:
        rows["top"] = "; ".join(f"{row['label']} {row['score']:.3f}" for row in report["top"])
    if all(key in verification for key in COST):
        ms, without = (verification[key] for key in COST)
        rows["cost"] = f"the maps took {ms - without:.2f} of {ms:.2f} ms an image on the machine that made the file"
    for key, value in rows.items():
        print(f"{key:<14}{one_line(value)}")
    if every_label:
        for number, label in enumerate(report["labels"]):
            print(f"{number:>6}  {one_line(label)}")


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {_short(value)}" for key, value in values.items()) or "unknown"


def _short(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(_short(item) for item in value)
    if isinstance(value, dict):
        return " ".join(f"{key.replace('_', ' ')} {_short(item)}" for key, item in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
