"""Measure the maps of real networks on photos with boxes, and write the table of the document.

    python -m camrt.benchmarks.compare.localization --data FOLDER [--images N] [--json FILE] [--documents FILE ...]

``FOLDER`` has models, labels and images as in `docs/quantize.md`. Needs the extras ``export`` and ``cpu``.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from camrt.benchmarks.compare.refinements import measure_refinements, refinement_table
from camrt.benchmarks.machine import describe_machine, format_machine
from camrt.benchmarks.report import tables
from camrt.export import attach
from camrt.kernels.localization import IOUS
from camrt.runtime.evaluation.bootstrap import drawn_values, interval, value_of
from camrt.runtime.evaluation.datasets.labelled import Dataset
from camrt.runtime.evaluation.datasets.read import read_dataset
from camrt.runtime.evaluation.evaluate import FAITHFUL_IMAGES, evaluate
from camrt.runtime.evaluation.evaluation import Evaluation
from camrt.runtime.evaluation.metrics import BY_NAME, METRICS
from camrt.runtime.inference.model import Model, load

NETWORKS = ("squeezenet11_caffe", "mobilenetv2_torchvision_qdq_int8")
IMAGES = "images_boxes"
_SCORE = 0.5
_CLASS = ("top1", "max_box_acc", "top1_box_acc", "box_acc_at_threshold", "top1_box_acc_at_threshold")
_FAITHFUL = ("insertion_auc", "deletion_auc", "road", "average_drop", "adcc")
_SANITY = ("permuted_weights", "other_class")
_OF_GROUPS = ("pointing_game", "energy_in_box", "box_acc_at_threshold")
SIZES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "mobilenetv2_torchvision_qdq_int8": {
        "as trained": {},
        **{str(side): {"size": (side, side)} for side in (256, 288, 320, 352, 384, 448)},
        "--fine": {"fine": True},
    },
    "squeezenet11_caffe": {"as trained": {}, "320": {"size": (320, 320)}},
}
"""Options of `camrt.export.attach` for each variant of a network's input, by its name in the table."""


def measure(
    data: Path, folder: Path, images: int | None = None, faithfulness: int = FAITHFUL_IMAGES
) -> list[dict[str, Any]]:
    """Return `Evaluation.as_dict` of each network, with ``name`` and the values of parts of the images.

    Args:
        data: folder of real models and images.
        folder: folder for the model files that are written.
        images: number of images; None: all.
        faithfulness: number of images for the metrics that need further forward passes.
    """
    dataset = read_dataset(data / IMAGES)
    dataset = replace(dataset, images=dataset.images[:images])
    rows = []
    for name in NETWORKS:
        note = json.loads((data / "models" / f"{name}.json").read_text(encoding="utf-8"))
        file = attach_with_note(data, note, folder / f"{name}.onnx")
        model = load(file, provider="cpu")
        found = evaluate(model, dataset, faithfulness=faithfulness)
        more = {"map_cells": _map_cells(model), "box_acc_by_iou": _by_iou(found), "groups": _groups(found, dataset)}
        rows.append({"name": name, **found.as_dict(), **more, "model": file.name, "dataset": IMAGES})
    return rows


def _map_cells(model: Model) -> list[int]:
    margin = model.decoder.margin
    return [side - 2 * margin for side in model.map_shape[1:]]


def _by_iou(found: Evaluation) -> dict[str, float]:
    """Return the parts of MaxBoxAccV2: for each least IoU the share of images, at its best threshold."""
    table, counts = found.rows.table("max_box_acc_v2")
    best = table.sum(axis=0, dtype=np.float64).max(axis=-1) / counts.sum()
    return {str(iou): float(share) for iou, share in zip(IOUS, best, strict=True)}


def _groups(found: Evaluation, dataset: Dataset) -> dict[str, dict[str, Any]]:
    """Return values and intervals of the images that have a property, by property."""
    boxes = {image.name: sum(len(target.boxes) for target in image.targets) for image in dataset.images}
    lines = {line["file"]: line for line in found.per_image}
    properties: dict[str, Callable[[str], bool]] = {
        "one box": lambda name: boxes[name] == 1,
        "several boxes": lambda name: boxes[name] > 1,
        "predicted class is right": lambda name: bool(lines[name]["top1"]),
        "predicted class is wrong": lambda name: not lines[name]["top1"],
        "score of 0.5 or more": lambda name: lines[name]["predicted_score"] >= _SCORE,
        "score below 0.5": lambda name: lines[name]["predicted_score"] < _SCORE,
    }
    groups: dict[str, dict[str, Any]] = {}
    for title, has in properties.items():
        keep = np.array([number for number, name in enumerate(found.names) if has(name)], np.intp)
        groups[title] = {"images": len(keep)}
        for name in _OF_GROUPS if len(keep) else ():
            low, high = interval(drawn_values(BY_NAME[name], found.rows, keep))
            groups[title][name] = [value_of(BY_NAME[name], found.rows, keep), low, high]
    return groups


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
        "limits_resolution": resolution_table(report["networks"]),
        "limits_groups": groups_table(report["networks"]),
        "faithfulness": faithfulness_table(
            report["networks"], [metric.name for metric in METRICS if metric.needs == "passes"]
        ),
        "faithfulness_cost": cost_table(report["networks"]),
        "limits_class": _by_network(report["networks"], _CLASS),
        "limits_faithfulness": faithfulness_table(report["networks"], _FAITHFUL),
        "limits_sanity": faithfulness_table(report["networks"], _SANITY),
        "localization_machine": f"{format_machine(report['machine'])}.",
    }


def localization_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table with one column for each network and each baseline of the first one."""
    empty = [""] * len(rows[0]["baselines"])
    best = ("best threshold, with hindsight", *(f"{row['best_threshold']:.2f}" for row in rows), *empty)
    cost = ("ms per image", *(f"{row['ms_per_image']:.1f}" for row in rows), *empty)
    metrics = [metric.name for metric in METRICS if metric.needs != "passes"]
    return _by_network(rows, metrics, [best, cost])


def _by_network(rows: Sequence[Mapping[str, Any]], metrics: Sequence[str], more: Sequence[Sequence[str]] = ()) -> str:
    baselines = list(rows[0]["baselines"])
    lines: list[Sequence[str]] = [
        (
            BY_NAME[name].title,
            *(_with_interval(row, name) for row in rows),
            *(_number(rows[0]["baselines"][baseline].get(name)) for baseline in baselines),
        )
        for name in metrics
        if rows[0][name] is not None
    ]
    names = (name.replace("_", " ") for name in baselines)
    return tables.table(("", *(row["name"] for row in rows), *names), [*lines, *more])


def faithfulness_table(rows: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> str:
    """Return the table with one line for each metric and network: the network decides about its baselines, too."""
    baselines = list(rows[0]["baselines"])
    lines = [
        (
            BY_NAME[name].title,
            row["name"],
            _with_interval(row, name),
            *(_number(row["baselines"][baseline].get(name)) for baseline in baselines),
        )
        for name in metrics
        for row in rows
        if row[name] is not None
    ]
    return tables.table(("", "network", "map", *(name.replace("_", " ") for name in baselines)), lines)


def cost_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of what the metrics of faithfulness took."""
    costs = [(row["name"], row["faithfulness"]) for row in rows]
    lines = [
        (name, str(cost["images"]), f"{cost['passes_per_image']:.0f}", f"{cost['seconds_per_image']:.1f}")
        for name, cost in costs
    ]
    return tables.table(("", "images", "forward passes an image", "seconds an image"), lines)


def resolution_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of the map's size and of the boxes that are right, by least IoU."""
    lines = []
    for row in rows:
        shares = (f"{share:.3f}" for share in row["box_acc_by_iou"].values())
        lines.append((row["name"], "x".join(map(str, row["map_cells"])), *shares))
    return tables.table(("", "cells of the map", *(f"IoU {iou}" for iou in rows[0]["box_acc_by_iou"])), lines)


def groups_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of values and intervals for parts of the images."""
    lines = [
        (title, row["name"], str(group["images"]), *(_group_cell(group.get(name)) for name in _OF_GROUPS))
        for title in rows[0]["groups"]
        for row in rows
        for group in [row["groups"][title]]
    ]
    return tables.table(("images", "network", "number", *(BY_NAME[name].title for name in _OF_GROUPS)), lines)


def _group_cell(value: Sequence[float] | None) -> str:
    return "" if value is None else "**{:.3f}** ({:.2f} - {:.2f})".format(*value)


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
