"""Quantized model files beside what they were made from, over several networks, measured in one run.

    python -m camrt.benchmarks.compare.quantization --data FOLDER [--json FILE] [--documents FILE ...]

``FOLDER`` has models, photos and boxes as `docs/quantize.md` says. Trained networks are quantized as ``camrt quantize``
does it; networks with random weights, whose answers mean nothing, are for the speed alone: all of their body is in
8-bit integers. Needs the extras ``export``, ``cpu`` and ``bench``.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from onnx import ModelProto, helper, numpy_helper

from camrt.benchmarks.compare import baselines
from camrt.benchmarks.compare_speed import open_pair, speed
from camrt.benchmarks.machine import describe_machine, format_machine
from camrt.benchmarks.report import tables
from camrt.export import attach, quantize
from camrt.export.graph.graph import Graph, copied
from camrt.export.graph.write import write_model
from camrt.export.quantize.backbone import take_apart
from camrt.export.quantize.calibration import read_calibration
from camrt.export.quantize.int8 import Quantizer
from camrt.export.quantize.quantize import read_model_file
from camrt.runtime.assets import DEMO_MODEL
from camrt.runtime.evaluation.localization import localize, read_boxes
from camrt.runtime.inference.model import load
from camrt.runtime.sources.synthetic import FRAMES_PER_ACT, Scene

RANDOM = ("mobilenet_v2", "resnet50")
"""Networks of torchvision, with random weights."""
SHRUNK = ("mobilenet_v1_0.25_128", "resnet8_large_cifar10")
"""Those that see photos at half their size or less: averaged, as their notes were made."""
PHOTOS = ("images_boxes", "images_cls")
SCENES = 30
"""Synthetic scenes, one picture an act, that the demo's model is judged by."""


def measure(data: Path, folder: Path) -> Iterator[dict[str, Any]]:
    """Measure one network after the other.

    Args:
        data: real models and photos.
        folder: where files are written.

    Returns: what `QuantizationReport.as_dict` and `quantized_speed.speed` return, without single pictures, with
    ``name`` and ``trained``; ``localization``, where boxes are known: ``source`` and ``quantized`` with
    ``pointing_game`` and ``max_box_acc``. Of networks with random weights only sizes and speed.
    """
    photos = [data / name for name in PHOTOS]
    for name, file, offset in _trained(data, folder):
        yield _trained_row(name, file, photos, data, offset)
    scenes = folder / "scenes"
    scenes.mkdir()
    _render(scenes)
    demo = folder / "demo.onnx"
    demo.write_bytes(DEMO_MODEL.read_bytes())
    yield _trained_row("demo", demo, [scenes], data, None)
    for name in RANDOM:
        yield _random_row(name, photos, folder)


def _trained_row(name: str, file: Path, pictures: Sequence[Path], data: Path, offset: int | None) -> dict[str, Any]:
    target = file.with_suffix(".int8.onnx")
    report = quantize(file, target, calibration=pictures)
    row = report.as_dict()
    del row["pictures"], row["classes"], row["path"], row["source"]
    first, second = open_pair(file, target)
    row = {"name": name, "trained": True, **row, **speed(first, second, report.pictures[0])}
    if offset is not None:
        boxed = read_boxes(data / PHOTOS[0], offset)
        row["localization"] = {
            which: {"pointing_game": found.pointing_game, "max_box_acc": found.max_box_acc}
            for which, found in (
                (which, localize(load(path, provider="cpu"), boxed))
                for which, path in (("source", file), ("quantized", target))
            )
        }
    return row


def _random_row(name: str, pictures: Sequence[Path], folder: Path) -> dict[str, Any]:
    file, target = folder / f"{name}.onnx", folder / f"{name}.int8.onnx"
    baselines.export_network(name, file)
    model, info = read_model_file(file)
    assert info.geometry is not None  # read_model_file refuses a file without
    calibrating = read_calibration(pictures, info.geometry).calibrating
    made = Quantizer(take_apart(model, "features"), calibrating, reduce_range=False).quantize(
        "minmax", last_in_float=False
    )
    assert made.grid is not None  # the heads of these networks are linear
    facts = {"kind": "int8", "features": dict(zip(("scale", "zero_point"), made.grid, strict=True))}
    helper.set_model_props(made.model, replace(info, quantization=facts).to_metadata())
    write_model(made.model, target)
    sizes = file.stat().st_size, target.stat().st_size
    first, second = open_pair(file, target)
    return {
        "name": name,
        "trained": False,
        "size_bytes": sizes[1],
        "source_size_bytes": sizes[0],
        "size_ratio": sizes[0] / sizes[1],
        **speed(first, second, calibrating[0]),
    }


def _trained(data: Path, folder: Path) -> Iterator[tuple[str, Path, int | None]]:
    """Yield the model file of each trained network, and what its class numbers have more than ImageNet's."""
    for note_file in sorted((data / "models").glob("*.json")):
        note = json.loads(note_file.read_text(encoding="utf-8"))
        name, pixels = note_file.stem, note["preprocessing"]
        source = data / "models" / note["file"]
        model = onnx.load(source)
        if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
            name, source = f"{name}, in float32 again", folder / f"{name}.float.onnx"
            onnx.save(in_float(model), source)
        file = folder / f"{note_file.stem}.onnx"
        attach(
            source,
            file,
            labels=data / "labels" / note["labels"],
            scale={"0-1": 1 / 255, "0-255": 1.0}[pixels["range"]],
            mean=pixels["mean"],
            std=pixels["std"],
            channels={"RGB": "rgb", "BGR": "bgr"}[pixels["channel_order"]],  # type: ignore[arg-type]
            interpolation="area" if note_file.stem in SHRUNK else "linear",
        )
        yield name, file, note["label_offset_vs_imagenet1000"] if "imagenet" in note["labels"] else None


def in_float(model: ModelProto) -> ModelProto:
    """Return a QDQ network without its rounding: weights as they are dequantized, activations cut at their ranges."""
    graph = Graph(copied(model))
    for node in list(graph.proto.node):
        if node.op_type != "DequantizeLinear":
            continue
        quantize_node = graph.producer(node.input[0])
        if quantize_node is None:  # of weights
            value = graph.constant(node.output[0])
            assert value is not None
            tensor = numpy_helper.from_array(value, node.output[0])
            graph.proto.node.remove(node)
            graph.proto.initializer.append(tensor)
        else:
            node.ClearField("attribute")
            del node.input[:]
            node.input.append(quantize_node.input[0])
            node.op_type = "Identity"
            made_by = graph.producer(quantize_node.input[0])
            if made_by is not None and made_by.op_type in ("Conv", "Add"):  # its ReLU6 may have become a range
                node.op_type = "Clip"
                node.input.extend(_bounds(graph, quantize_node.input[1:]))
    graph.reindex()
    graph.prune(list(graph.proto.output))
    return graph.model


def _bounds(graph: Graph, parameters: Sequence[str]) -> list[str]:
    """Return constants for the ends of the range that a quantizer's scale and zero point span."""
    scale, zero = (graph.constant(name) for name in parameters)
    assert scale is not None
    assert zero is not None
    ends = np.iinfo(zero.dtype)
    values = ((float(end) - float(zero)) * float(scale) for end in (ends.min, ends.max))
    return [graph.add_initializer("bound", np.array(value, np.float32)) for value in values]


def _render(folder: Path) -> None:
    """Write pictures of synthetic scenes that the demo's model was not trained on."""
    for seed in range(SCENES):
        scene = Scene(seed, 320, 240)
        for act in range(6):
            view = scene.view(act * FRAMES_PER_ACT + (37 * seed + 11 * act) % FRAMES_PER_ACT)
            cv2.imwrite(str(folder / f"{seed:03}_{act}.png"), view.image)


def tables_of(report: Mapping[str, Any]) -> dict[str, str]:
    """Return the tables of what `main` keeps, by name."""
    rows = report["networks"]
    return {
        "quantized": fidelity_table(rows),
        "quantized_speed": speed_table(rows),
        "quantized_machine": f"{format_machine(report['machine'])}. {rows[0]['threads']} threads.",
    }


def fidelity_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of trained networks."""
    return tables.table(
        (
            *("network", "size", "speed", "same answer", "Pearson", "ranks", "boxes", "pointing game, before / after"),
            *("MaxBoxAcc, before / after", "taken"),
        ),
        (
            (
                row["name"],
                f"1/{row['size_ratio']:.1f}",
                f"{row['speedup']:.1f}x",
                f"{row['top1_agreement']:.1%} of {row['judged_on']}",
                f"{row['pearson_median']:.4f}",
                f"{row['rank_median']:.4f}",
                f"{row['box_iou_median']:.3f}",
                _both(row, "pointing_game"),
                _both(row, "max_box_acc"),
                row["chosen"],
            )
            for row in rows
            if row["trained"]
        ),
    )


def speed_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of networks with random weights."""
    return tables.table(
        ("network", "size", "speed", "float32", "int8"),
        (
            (
                row["name"],
                f"1/{row['size_ratio']:.1f}",
                f"{row['speedup']:.1f}x",
                f"{row['source_ms']:.1f} ms",
                f"{row['ms']:.1f} ms",
            )
            for row in rows
            if not row["trained"]
        ),
    )


def _both(row: Mapping[str, Any], score: str) -> str:
    found = row.get("localization")
    return "" if found is None else f"{found['source'][score]:.3f} / {found['quantized'][score]:.3f}"


def main() -> None:
    """Measure, keep, show."""
    parser = argparse.ArgumentParser(description="quantized model files beside what they were made from")
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="real models, labels and photos")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the numbers")
    parser.add_argument("--documents", type=Path, nargs="*", default=[], metavar="FILE", help="fill their tables anew")
    args = parser.parse_args()
    if not (args.data / "models").is_dir():
        raise SystemExit(f"{args.data} has no folder 'models'")
    with tempfile.TemporaryDirectory() as folder:
        rows = list(measure(args.data, Path(folder)))
    report: dict[str, Any] = {"machine": describe_machine(), "networks": rows}
    if args.json is not None:
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    shown = tables_of(report)
    for document in args.documents:
        document.write_text(tables.fill(document.read_text(encoding="utf-8"), shown), encoding="utf-8")
    print("\n\n".join(f"{name}\n\n{table}" for name, table in shown.items()))


if __name__ == "__main__":
    main()
