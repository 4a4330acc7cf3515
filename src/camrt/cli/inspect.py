"""``camrt inspect``: what a model file says of itself, and whether it is true."""

import argparse
import json
from pathlib import Path
from typing import Any

from camrt.cli.common_flags import add_session_flags, open_model
from camrt.cli.export_flags import size
from camrt.cli.inspect_classifier import show_classifier
from camrt.errors import MissingExtra, NoModelFile, UsageError
from camrt.model_file import EXACT

HEADS = {
    "linear": "features, pooled, then one linear layer: the maps add up to the logits, and cost nothing until shown",
    "class_maps": "one map a class, pooled: the maps add up to the logits",
    "per_position": "not linear: a map is the logit that the head gives to each cell by itself",
    "tokens": "a transformer's: a map is the logit that the head gives to the token of each patch",
    "masked": "mixes cells: a map is the logit with all cells but one set to zero (Recipro-CAM)",
    "saliency_map": "the source's own output saliency_map, as it is",
}
COST = ("ms", "ms_without_maps")
"""What the export measured where each cell of a map is asked."""


def add(commands: Any) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "inspect",
        help="show what a model file holds; --verify proves it",
        description="Show what a model file holds: head, classes, sizes, how it was made and verified. Of an ONNX "
        "classifier that is none yet: its head, and the maps that could be shown.",
        epilog="example: camrt inspect model.onnx --verify photo.jpg",
    )
    parser.add_argument(
        "model", nargs="?", type=Path, metavar="MODEL", help="file made by camrt attach or export, or a classifier"
    )
    parser.add_argument("--size", metavar="WxH", type=size, help="of a classifier's input, where it leaves it open")
    parser.add_argument("--output", metavar="NAME", help="of a classifier: which output gives the scores")
    parser.add_argument(
        "--verify",
        nargs="?",
        const="",
        metavar="PICTURE",
        help="check mean(CAM) + bias = logit for every class on a picture (without one: on noise)",
    )
    parser.add_argument("--labels", action="store_true", help="list every class with its number")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_session_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the report; returns 1 where the identity does not hold."""
    if args.model is None and args.verify:  # `inspect --verify MODEL`: the flag took the model for its picture
        args.model, args.verify = Path(args.verify), ""
    if args.model is None:
        raise UsageError("which model? camrt inspect MODEL")
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

        result = model(_picture(args.verify, geometry.width, geometry.height))
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


def _picture(path: str, width: int, height: int) -> Any:
    """Read a picture; without a path make noise, the same each time."""
    if not path:
        import numpy as np

        return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    from camrt.images import read_image

    return read_image(Path(path))


def _print(report: dict[str, Any], *, every_label: bool) -> None:
    shape, stated = report["input"], report["verification"]
    maps = "x".join(str(side) for side in report["features"])
    resize = shape["resize"] + (f" of {shape['shorter_side']}" if shape["shorter_side"] else "")
    rows = {
        "model": f"{report['model']} ({report['size_bytes'] / 1e6:.1f} MB)",
        "head": f"{report['head']} ({HEADS[report['head']]})",
        "maps": maps + (f", the outer ring, {report['map_margin']} wide, is padding" if report["map_margin"] else ""),
        "input": f"{shape['width']}x{shape['height']}, {resize}, {shape['interpolation']}",
        "preprocessing": _pairs(report["preprocessing"]),
        "classes": f"{report['classes']}: {'; '.join(report['labels'][:5])}"
        + ("; ..." if report["classes"] > 5 else ""),
        "activation": report["activation"] or "not stated",
        "made from": _pairs(report["source"]),
        "verified": _pairs({key: value for key, value in stated.items() if key not in COST}),
        "quantized": _pairs(report["quantization"]) if report["quantization"] else "no",
        "provider": f"{report['provider']}, {report['threads']} threads",
    }
    if "identity_error" in report:
        verdict = "holds" if report["identity_holds"] else "DOES NOT HOLD: the maps do not explain the scores"
        rows["identity"] = (
            f"{verdict}; on {report['verified_on']} mean(CAM) + bias is within {report['identity_error']:.1e} of the "
            f"logits (allowed {report['identity_tolerance']:.1e})"
        )
    elif "top" in report:
        rows["identity"] = (
            "none: maps of this head do not add up to the logits; they were proven when the file was made"
        )
    if "top" in report:
        rows["top"] = "; ".join(f"{row['label']} {row['score']:.3f}" for row in report["top"])
    if all(key in stated for key in COST):
        ms, without = (stated[key] for key in COST)
        rows["cost"] = f"{ms - without:.2f} of {ms:.2f} ms a picture are the maps, where the file was made"
    for key, value in rows.items():
        print(f"{key:<14}{value}")
    if every_label:
        for number, label in enumerate(report["labels"]):
            print(f"{number:>6}  {label}")


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {_short(value)}" for key, value in values.items()) or "not stated"


def _short(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(_short(item) for item in value)
    if isinstance(value, dict):
        return " ".join(f"{key.replace('_', ' ')} {_short(item)}" for key, item in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
