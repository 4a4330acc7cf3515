"""Compare quantized model files with their float32 originals, for several networks in one run.

    python -m camrt.benchmarks.compare.quantization --data FOLDER [--json FILE] [--documents FILE ...]

``FOLDER`` has models, images and boxes, see `docs/quantize.md`. Trained networks are quantized like ``camrt quantize``
does it. Networks with random weights are for the speed only: their whole backbone is in 8-bit integers, whatever that
does to their predictions. Needs the extras ``export``, ``cpu`` and ``bench``.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, helper, numpy_helper

from camrt.benchmarks.compare import baselines
from camrt.benchmarks.compare.openvino_overlay import PRECISIONS, OpenVinoOverlay
from camrt.benchmarks.machine import describe_machine, format_machine
from camrt.benchmarks.report import tables
from camrt.export import attach, quantize
from camrt.export.graph.graph import Graph, copy_model
from camrt.export.graph.write import write_model
from camrt.export.quantize.backbone import split_model
from camrt.export.quantize.calibration import read_calibration
from camrt.export.quantize.int8 import Int8Quantizer
from camrt.export.quantize.quantize import read_model_file
from camrt.images import Image
from camrt.interleaved_timing import compare, interleave
from camrt.runtime.assets import DEMO_MODEL
from camrt.runtime.evaluation.evaluate import evaluate
from camrt.runtime.inference.compare_speed import compare_speed, open_pair
from camrt.runtime.inference.model import load
from camrt.runtime.maps.overlay import paint
from camrt.synthetic_scene import FRAMES_PER_ACT, Scene

RANDOM = ("mobilenet_v2", "resnet50")
"""Networks of torchvision with random weights."""
AREA_INTERPOLATION = ("mobilenet_v1_0.25_128", "resnet8_large_cifar10")
"""Networks with small inputs: images are reduced by averaging, as in the reference results of these networks."""
IMAGE_FOLDERS = ("images_boxes", "images_cls")
LOCALIZATION = ("pointing_game", "max_box_acc")
SCENES = 30
"""Number of synthetic scenes to evaluate the demo model on, with one image per act."""
WHOLE_FRAME = ("mobilenetv2_torchvision_qdq_int8", *RANDOM)
"""Networks that are compared with OpenVINO, from a frame to its overlay."""
FRAME_SIZE = (1920, 1080)
_WHOLE_FRAME_ROUNDS = 40


def measure(data: Path, folder: Path) -> Iterator[dict[str, Any]]:
    """Measure one network after the other.

    Args:
        data: folder of real models and images.
        folder: folder for the model files that are written.

    Yields: the results of `QuantizationReport.as_dict` and `compare_speed`, without those of single images, with
    ``name`` and ``trained``; ``localization`` if boxes are known: ``source`` and ``quantized``, each with
    ``pointing_game`` and ``max_box_acc``. For networks with random weights only sizes and speed.
    """
    image_folders = [data / name for name in IMAGE_FOLDERS]
    for name, file, boxes in _trained_networks(data, folder):
        yield _trained_row(name, file, image_folders, boxes)
    scenes = folder / "scenes"
    scenes.mkdir()
    _render(scenes)
    demo = folder / "demo.onnx"
    demo.write_bytes(DEMO_MODEL.read_bytes())
    yield _trained_row("demo", demo, [scenes], None)
    for name in RANDOM:
        yield _random_row(name, image_folders, folder)


def _trained_row(name: str, file: Path, images: Sequence[Path], boxes: Path | None) -> dict[str, Any]:
    target = file.with_suffix(".int8.onnx")
    report = quantize(file, target, calibration=images)
    row = report.as_dict()
    del row["images"], row["classes"], row["path"], row["source"]
    first, second = open_pair(file, target)
    row = {"name": name, "trained": True, **row, **compare_speed(first, second, report.images[0])}
    if file.stem in WHOLE_FRAME:
        row["whole_frame"] = compare_with_openvino(file, target, report.images[0])
    if boxes is not None:
        row["localization"] = {key: localize(path, boxes) for key, path in (("source", file), ("quantized", target))}
    return row


def compare_with_openvino(source: Path, quantized: Path, image: Image) -> dict[str, Any]:
    """Time camrt with the quantized file against OpenVINO with the original file, from a frame to its overlay.

    Args:
        source: model file in float32 with a linear head.
        quantized: the file made from it.
        image: uint8 (H, W, 3) BGR, resized to `FRAME_SIZE`.

    Returns: ``ms`` and ``speedup`` of `compare` for ``camrt``, ``OpenVINO fp32`` and ``OpenVINO default``; and
    ``correlation`` of the positive part of each map with that of camrt in float32.
    """
    original, model = load(source, provider="cpu"), load(quantized, provider="cpu")
    weights = original.decoder.cam_weights
    assert weights is not None
    frame = np.asarray(cv2.resize(image, FRAME_SIZE, interpolation=cv2.INTER_CUBIC), np.uint8)
    out = np.empty_like(frame)

    def draw(frame: Image) -> tuple[Image, NDArray[np.float32]]:
        result = model(frame)
        paint(frame, cam := result.cam(), result.placement, baselines.GRAD_CAM_STYLE, out=out)
        return out, np.maximum(cam, 0)

    methods: dict[str, Callable[[Image], tuple[Image, NDArray[np.float32]]]] = {"camrt": draw}
    for precision in PRECISIONS:
        methods[f"OpenVINO {precision}"] = OpenVinoOverlay(source, weights, model.threads, precision)
    cv2.setNumThreads(model.threads)
    reference = np.maximum(original(frame).cam(), 0).ravel()
    correlation = {name: float(np.corrcoef(reference, call(frame)[1].ravel())[0, 1]) for name, call in methods.items()}
    calls = {name: partial(call, frame) for name, call in methods.items()}
    return compare(interleave(calls, _WHOLE_FRAME_ROUNDS, turn=4), to="camrt") | {"correlation": correlation}


def localize(file: Path, boxes: Path) -> dict[str, float]:
    """Return the metrics `LOCALIZATION` of a model file on the images of a folder."""
    found = evaluate(load(file, provider="cpu"), boxes, metrics=LOCALIZATION, baselines=())
    return dict(found.values)


def _random_row(name: str, images: Sequence[Path], folder: Path) -> dict[str, Any]:
    file, target = folder / f"{name}.onnx", folder / f"{name}.int8.onnx"
    baselines.export_network(name, file)
    model, info = read_model_file(file)
    assert info.geometry is not None  # read_model_file raises an error for a file without it
    calibration = read_calibration(images, info.geometry).calibration
    made = Int8Quantizer(split_model(model, "features"), calibration, reduce_range=False).quantize(
        "minmax", last_in_float=False
    )
    assert made.quantization_params is not None  # the heads of these networks are linear
    facts = {"kind": "int8", "features": dict(zip(("scale", "zero_point"), made.quantization_params, strict=True))}
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
        **compare_speed(first, second, calibration[0]),
        "whole_frame": compare_with_openvino(file, target, calibration[0]),
    }


def _trained_networks(data: Path, folder: Path) -> Iterator[tuple[str, Path, Path | None]]:
    """Yield (name, model file, folder of images with boxes) of each trained network.

    The folder is None for networks that are not trained on ImageNet.
    """
    for note_file in sorted((data / "models").glob("*.json")):
        note = json.loads(note_file.read_text(encoding="utf-8"))
        name, pixels = note_file.stem, note["preprocessing"]
        source = data / "models" / note["file"]
        model = onnx.load(source)
        if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
            name, source = f"{name}, in float32 again", folder / f"{name}.float.onnx"
            onnx.save(remove_quantization(model), source)
        file = folder / f"{note_file.stem}.onnx"
        attach(
            source,
            file,
            labels=data / "labels" / note["labels"],
            scale={"0-1": 1 / 255, "0-255": 1.0}[pixels["range"]],
            mean=pixels["mean"],
            std=pixels["std"],
            channels={"RGB": "rgb", "BGR": "bgr"}[pixels["channel_order"]],  # type: ignore[arg-type]
            interpolation="area" if note_file.stem in AREA_INTERPOLATION else "linear",
        )
        yield name, file, data / IMAGE_FOLDERS[0] if "imagenet" in note["labels"] else None


def remove_quantization(model: ModelProto) -> ModelProto:
    """Return a QDQ network in float32: with dequantized weights, and activations clipped to their ranges."""
    graph = Graph(copy_model(model))
    for node in list(graph.proto.node):
        if node.op_type != "DequantizeLinear":
            continue
        quantize_node = graph.producer(node.input[0])
        if quantize_node is None:  # quantized weights
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
            producer = graph.producer(quantize_node.input[0])
            if producer is not None and producer.op_type in ("Conv", "Add"):  # the range may replace a ReLU6
                node.op_type = "Clip"
                node.input.extend(_bounds(graph, quantize_node.input[1:]))
    graph.reindex()
    graph.prune(list(graph.proto.output))
    return graph.model


def _bounds(graph: Graph, parameters: Sequence[str]) -> list[str]:
    """Return the names of two constants: the ends of the range of a quantizer's scale and zero point."""
    scale, zero = (graph.constant(name) for name in parameters)
    assert scale is not None
    assert zero is not None
    limits = np.iinfo(zero.dtype)
    values = ((float(limit) - float(zero)) * float(scale) for limit in (limits.min, limits.max))
    return [graph.add_initializer("bound", np.array(value, np.float32)) for value in values]


def _render(folder: Path) -> None:
    """Write images of synthetic scenes that the demo model was not trained on."""
    for seed in range(SCENES):
        scene = Scene(seed, 320, 240)
        for act in range(6):
            view = scene.view(act * FRAMES_PER_ACT + (37 * seed + 11 * act) % FRAMES_PER_ACT)
            cv2.imwrite(str(folder / f"{seed:03}_{act}.png"), view.image)


def make_tables(report: Mapping[str, Any]) -> dict[str, str]:
    """Return the Markdown tables of the report that `main` writes, by name."""
    rows = report["networks"]
    return {
        "quantized": fidelity_table(rows),
        "quantized_speed": speed_table(rows),
        "quantized_whole_frame": whole_frame_table(rows),
        "quantized_machine": f"{format_machine(report['machine'])}. {rows[0]['threads']} threads.",
    }


def fidelity_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of the trained networks."""
    return tables.table(
        (
            *("network", "size", "speed", "same top-1", "Pearson", "Spearman", "box IoU"),
            *("pointing game, before / after", "MaxBoxAcc, before / after", "configuration"),
        ),
        (
            (
                row["name"],
                f"1/{row['size_ratio']:.1f}",
                f"{row['speedup']:.1f}x",
                f"{row['top1_agreement']:.1%} of {row['evaluated_on']}",
                f"{row['pearson_median']:.4f}",
                f"{row['rank_median']:.4f}",
                f"{row['box_iou_median']:.3f}",
                _both(row, "pointing_game"),
                _both(row, "max_box_acc"),
                row["selected"],
            )
            for row in rows
            if row["trained"]
        ),
    )


def speed_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of the networks with random weights."""
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


def whole_frame_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of the networks that were compared with OpenVINO, with the correlations of the maps."""
    names = ("camrt", *(f"OpenVINO {precision}" for precision in PRECISIONS))

    def cells(row: Mapping[str, Any]) -> Iterator[str]:
        yield row["name"]
        for name in names:
            timing = row["whole_frame"]
            time = f"{timing['speedup'][name]:.2f}x" if name in timing["speedup"] else f"{timing['ms'][name]:.1f} ms"
            yield f"{time}, {timing['correlation'][name]:.3f}"

    return tables.table(
        ("network", "camrt, int8", *names[1:]), (tuple(cells(row)) for row in rows if "whole_frame" in row)
    )


def _both(row: Mapping[str, Any], score: str) -> str:
    scores = row.get("localization")
    return "" if scores is None else f"{scores['source'][score]:.3f} / {scores['quantized'][score]:.3f}"


def main() -> None:
    """Measure, write the results and print the tables."""
    parser = argparse.ArgumentParser(description="compare quantized model files with their float32 originals")
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="real models, labels and images")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results")
    parser.add_argument("--documents", type=Path, nargs="*", default=[], metavar="FILE", help="update their tables")
    args = parser.parse_args()
    if not (args.data / "models").is_dir():
        raise SystemExit(f"{args.data} has no folder 'models'")
    with tempfile.TemporaryDirectory() as folder:
        rows = list(measure(args.data, Path(folder)))
    report: dict[str, Any] = {"machine": describe_machine(), "networks": rows}
    if args.json is not None:
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    shown = make_tables(report)
    for document in args.documents:
        document.write_text(tables.fill(document.read_text(encoding="utf-8"), shown), encoding="utf-8")
    print("\n\n".join(f"{name}\n\n{table}" for name, table in shown.items()))


if __name__ == "__main__":
    main()
