"""Measure the maps of real networks on photos with boxes, and write the table of the document.

    python -m camrt.benchmarks.compare.localization --data FOLDER [--images N] [--json FILE] [--documents FILE ...]

``FOLDER`` has models, labels and images as in `docs/quantize.md`. Needs the extras ``export`` and ``cpu``.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from camrt.benchmarks.compare.refinements import measure_refinements, refinement_table
from camrt.benchmarks.machine import describe_machine, format_machine
from camrt.benchmarks.report import tables
from camrt.export import attach
from camrt.runtime.evaluation.datasets.read import read_dataset
from camrt.runtime.evaluation.evaluate import evaluate
from camrt.runtime.evaluation.metrics import METRICS
from camrt.runtime.inference.model import load

NETWORKS = ("squeezenet11_caffe", "mobilenetv2_torchvision_qdq_int8")
IMAGES = "images_boxes"
SIZES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "mobilenetv2_torchvision_qdq_int8": {
        "as trained": {},
        **{str(side): {"size": (side, side)} for side in (256, 288, 320, 352, 384, 448)},
        "--fine": {"fine": True},
    },
    "squeezenet11_caffe": {"as trained": {}, "320": {"size": (320, 320)}},
}
"""Options of `camrt.export.attach` for each variant of a network's input, by its name in the table."""


def measure(data: Path, folder: Path, images: int | None = None) -> list[dict[str, Any]]:
    """Return `Evaluation.as_dict` of each network, with ``name``.

    Args:
        data: folder of real models and images.
        folder: folder for the model files that are written.
        images: number of images; None: all.
    """
    dataset = read_dataset(data / IMAGES)
    dataset = replace(dataset, images=dataset.images[:images])
    rows = []
    for name in NETWORKS:
        note = json.loads((data / "models" / f"{name}.json").read_text(encoding="utf-8"))
        file = attach_with_note(data, note, folder / f"{name}.onnx")
        report = evaluate(load(file, provider="cpu"), dataset).as_dict()
        rows.append({"name": name, **report, "model": file.name, "dataset": IMAGES})
    return rows


def measure_sharper(data: Path, folder: Path, images: int | None = None, rounds: int = 9) -> list[dict[str, Any]]:
    """Return `measure_refinements` of each network, with ``name``; sizes are those of `SIZES`.

    Args:
        data: folder of real models and images.
        folder: folder for the model files that are written.
        images: number of images; None: all.
        rounds: rounds of the timing.
    """
    dataset = read_dataset(data / IMAGES)
    dataset = replace(dataset, images=dataset.images[:images])
    reports = []
    for name, changes in SIZES.items():
        note = json.loads((data / "models" / f"{name}.json").read_text(encoding="utf-8"))
        models = {}
        for number, (size, options) in enumerate(changes.items()):
            file = attach_with_note(data, note, folder / f"{name}.input{number}.onnx", **options)
            models[size] = load(file, provider="cpu")
        reports.append({"name": name, **measure_refinements(models, dataset, rounds)})
    return reports


def attach_with_note(data: Path, note: Mapping[str, Any], file: Path, **options: Any) -> Path:
    """Make a model file of a classifier with the preprocessing that its note states; returns ``file``.

    Args:
        data: folder of real models and labels.
        note: the note beside the classifier.
        file: the model file to write.
        options: further ones of `camrt.export.attach`.
    """
    pixels = note["preprocessing"]
    attach(
        data / "models" / note["file"],
        file,
        labels=data / "labels" / note["labels"],
        scale={"0-1": 1 / 255, "0-255": 1.0}[pixels["range"]],
        mean=pixels["mean"],
        std=pixels["std"],
        channels={"RGB": "rgb", "BGR": "bgr"}[pixels["channel_order"]],  # type: ignore[arg-type]
        interpolation="linear",
        **options,
    )
    return file


def make_tables(report: Mapping[str, Any]) -> dict[str, str]:
    """Return the Markdown tables of the report that `main` writes, by name."""
    sharper = {f"sharper_{one['name']}": refinement_table(one) for one in report["sharper"]}
    return {
        **sharper,
        "localization": localization_table(report["networks"]),
        "localization_machine": f"{format_machine(report['machine'])}.",
    }


def localization_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table with one column for each network and each baseline of the first one."""
    baselines = list(rows[0]["baselines"])
    lines: list[Sequence[str]] = [
        (
            metric.title,
            *(_with_interval(row, metric.name) for row in rows),
            *(_number(rows[0]["baselines"][name].get(metric.name)) for name in baselines),
        )
        for metric in METRICS
        if rows[0][metric.name] is not None
    ]
    empty = [""] * len(baselines)
    best = ("best threshold, with hindsight", *(f"{row['best_threshold']:.2f}" for row in rows), *empty)
    cost = ("ms per image", *(f"{row['ms_per_image']:.1f}" for row in rows), *empty)
    names = (name.replace("_", " ") for name in baselines)
    return tables.table(("", *(row["name"] for row in rows), *names), [*lines, best, cost])


def _with_interval(row: Mapping[str, Any], name: str) -> str:
    low, high = row["confidence_interval"][name]
    return f"**{row[name]:.3f}** ({low:.2f} - {high:.2f})"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def main() -> None:
    """Measure, write the results and print the tables."""
    parser = argparse.ArgumentParser(description="measure the maps of real networks on photos with boxes")
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="real models, labels and images")
    parser.add_argument("--images", type=int, metavar="N", help="the first N images only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results")
    parser.add_argument("--documents", type=Path, nargs="*", default=[], metavar="FILE", help="update their tables")
    args = parser.parse_args()
    if not (args.data / "models").is_dir():
        raise SystemExit(f"{args.data} has no folder 'models'")
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(args.data, Path(folder), args.images)
        sharper = measure_sharper(args.data, Path(folder), args.images)
    report: dict[str, Any] = {"machine": describe_machine(), "networks": rows, "sharper": sharper}
    if args.json is not None:
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    shown = make_tables(report)
    for document in args.documents:
        document.write_text(tables.fill(document.read_text(encoding="utf-8"), shown), encoding="utf-8")
    print("\n\n".join(f"{name}\n\n{table}" for name, table in shown.items()))


if __name__ == "__main__":
    main()
