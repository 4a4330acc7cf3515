"""``camrt inspect``: what a model file says of itself, and whether it is true."""

import argparse
import json
from pathlib import Path
from typing import Any

from camrt.cli.options import add_session_flags, open_model
from camrt.errors import UsageError


def add(commands: Any) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "inspect",
        help="show what a model file holds; --verify proves it",
        description="Show what a model file holds: head, classes, sizes, how it was made and verified.",
        epilog="example: camrt inspect model.onnx --verify photo.jpg",
    )
    parser.add_argument("model", nargs="?", type=Path, metavar="MODEL", help="file made by camrt attach or export")
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
    model = open_model(args.model, args.provider, args.threads)
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
        from camrt.runtime.identity import check_identity

        result = model(_picture(args.verify, geometry.width, geometry.height))
        check = check_identity(model, result)
        holds = check.holds
        report |= {
            "identity_error": check.relative,
            "identity_error_absolute": check.absolute,
            "identity_tolerance": check.tolerance,
            "identity_holds": holds,
            "verified_on": args.verify or "noise",
            "top": [{"class_id": i, "label": label, "score": score} for i, label, score in result.top(5)],
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
    from camrt.runtime.sources import open_source

    source = open_source(path)
    frame = source.read()
    source.close()
    if frame is None:
        raise UsageError(f"{path} holds no picture")
    return frame.image


def _print(report: dict[str, Any], *, every_label: bool) -> None:
    shape = report["input"]
    maps = "x".join(str(side) for side in report["features"])
    name = {"linear": "features, pooled, then one linear layer", "class_maps": "one map a class, pooled"}
    resize = shape["resize"] + (f" of {shape['shorter_side']}" if shape["shorter_side"] else "")
    rows = {
        "model": f"{report['model']} ({report['size_bytes'] / 1e6:.1f} MB)",
        "head": f"{report['head']} ({name[report['head']]})",
        "maps": maps + (f", the outer ring, {report['map_margin']} wide, is padding" if report["map_margin"] else ""),
        "input": f"{shape['width']}x{shape['height']}, {resize}, {shape['interpolation']}",
        "preprocessing": _pairs(report["preprocessing"]),
        "classes": f"{report['classes']}: {'; '.join(report['labels'][:5])}"
        + ("; ..." if report["classes"] > 5 else ""),
        "activation": report["activation"] or "not stated",
        "made from": _pairs(report["source"]),
        "verified": _pairs(report["verification"]),
        "quantized": _pairs(report["quantization"]) if report["quantization"] else "no",
        "provider": f"{report['provider']}, {report['threads']} threads",
    }
    if "identity_error" in report:
        verdict = "holds" if report["identity_holds"] else "DOES NOT HOLD: the maps do not explain the scores"
        rows["identity"] = (
            f"{verdict}; on {report['verified_on']} mean(CAM) + bias is within {report['identity_error']:.1e} of the "
            f"logits (allowed {report['identity_tolerance']:.1e})"
        )
        rows["top"] = "; ".join(f"{row['label']} {row['score']:.3f}" for row in report["top"])
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
