"""Compare the resize of frames to the network's input with that of OpenCV, Pillow and torchvision.

    python -m camrt.benchmarks.compare.resize [--rounds N] [--data FOLDER] [--json]

It measures the time on one thread, as a multiple of copying the frame. With ``--data``, it also counts how many photos
keep the class of torchvision's pipeline. ``FOLDER`` has models and images, see `docs/quantize.md`. Photos are taken as
they are, and enlarged with added noise, because the photos of the folder are small: an enlarged photo has no detail of
its own, and the noise stands for the detail and the noise of a large one. Needs the extras ``export``, ``cpu`` and
``bench``.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import torch
from PIL import Image as PillowImage

from camrt import kernels
from camrt.benchmarks.compare.torch_libraries import transforms
from camrt.benchmarks.machine import describe_machine, format_machine
from camrt.benchmarks.report import tables
from camrt.export import attach
from camrt.geometry import fit
from camrt.images import Image, read_image
from camrt.interleaved_timing import compare, interleave
from camrt.media_files import list_folder
from camrt.model_file import InputGeometry, Interpolation
from camrt.runtime.inference.model import Model, load

SIDE = 224
SIZES = ((640, 480), (1920, 1080), (3840, 2160))
MODELS = ("mobilenetv2_torchvision_qdq_int8", "squeezenet11_caffe")
FOLDERS = ("images_boxes", "images_cls", "hymenoptera", "cam_reference")
LARGE = (1000, 2000, 4000)
"""Longer sides of the enlarged photos in pixels; a third of the photos is enlarged to each."""
NOISE = 25.0
"""Standard deviation of the noise in enlarged photos, in grey levels."""


def measure(width: int, height: int, rounds: int) -> dict[str, Any]:
    """Measure one frame size on one thread.

    Returns: ``frame``; ``ms``, the median time of each alternative; ``speedup``, the median of the ratios of each to
    copying the frame.
    """
    frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    copy, out = np.empty_like(frame), np.empty((SIDE, SIDE, 3), np.uint8)
    image = PillowImage.fromarray(frame)
    tensor = torch.from_numpy(frame).permute(2, 0, 1)
    torch_resize = transforms.Resize((SIDE, SIDE), antialias=True)

    def resize(interpolation: Interpolation) -> Callable[[], None]:
        geometry = InputGeometry(width=SIDE, height=SIDE, interpolation=interpolation)
        return lambda: fit(frame, geometry, out)

    alternatives: dict[str, Callable[[], object]] = {
        "copy": lambda: np.copyto(copy, frame),
        "camrt": resize("antialias"),
        "OpenCV linear": resize("linear"),
        "OpenCV area": resize("area"),
        "Pillow": lambda: image.resize((SIDE, SIDE), PillowImage.Resampling.BILINEAR),
        "torchvision": lambda: torch_resize(tensor),
    }
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    return {"frame": [width, height], **compare(interleave(alternatives, rounds), to="copy")}


def agreement(data: Path, folder: Path) -> list[dict[str, Any]]:
    """Count the photos whose best class equals that of torchvision's pipeline on a Pillow image.

    Args:
        data: folder of real models and images.
        folder: folder for the model files that are written.

    Returns: rows with ``model``, ``resize``, ``photos`` (``as they are`` or their longer side), ``count``, and
    ``equal``: the number of equal classes by interpolation.
    """
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    models = [_load(data, name, folder) for name in MODELS]
    for size, photo in read_photos(data):
        image = PillowImage.fromarray(photo[..., ::-1])
        for model in models:
            for how, steps in _pipelines(model.geometry).items():
                case = {"model": model.path.stem, "resize": how, "photos": size}
                start = {"count": 0, "equal": dict.fromkeys(get_args(Interpolation), 0)}
                row = rows.setdefault(tuple(case.values()), case | start)
                geometry = replace(model.geometry, **_RESIZES[how])
                prepared = np.asarray(transforms.Compose(steps)(image))[..., ::-1]
                wanted = model(np.ascontiguousarray(prepared)).top(1)[0][0]
                row["count"] += 1
                for interpolation in row["equal"]:
                    network_input = np.empty((geometry.height, geometry.width, 3), np.uint8)
                    fit(photo, replace(geometry, interpolation=interpolation), network_input)
                    row["equal"][interpolation] += model(network_input).top(1)[0][0] == wanted
    return [rows[case] for case in sorted(rows)]


_RESIZES: dict[str, dict[str, Any]] = {"stretch": {}, "crop of 256": {"resize": "crop", "shorter_side": 256}}


def _pipelines(geometry: InputGeometry) -> dict[str, list[Any]]:
    """Return torchvision's steps for each of `_RESIZES`."""
    side = geometry.width
    return {
        "stretch": [transforms.Resize((side, side))],
        "crop of 256": [transforms.Resize(256), transforms.CenterCrop(side)],
    }


def _load(data: Path, name: str, folder: Path) -> Model:
    note = json.loads((data / "models" / f"{name}.json").read_text(encoding="utf-8"))
    pixels = note["preprocessing"]
    attach(
        data / "models" / note["file"],
        folder / f"{name}.onnx",
        scale={"0-1": 1 / 255, "0-255": 1.0}[pixels["range"]],
        mean=pixels["mean"],
        std=pixels["std"],
        channels=pixels["channel_order"].lower(),
    )
    return load(folder / f"{name}.onnx", provider="cpu")


def read_photos(data: Path) -> Iterator[tuple[str, Image]]:
    """Yield the photos of a folder, as they are and enlarged with noise, and the name of their size."""
    random = np.random.default_rng(0)
    files = sorted(file for name in FOLDERS for file in list_folder(data / name, subfolders=True).images)
    for number, file in enumerate(files):
        photo = read_image(file)
        yield "as they are", photo
        side = LARGE[number % len(LARGE)]
        scale = side / max(photo.shape)
        large = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        noise = NOISE * random.standard_normal(large.shape, np.float32)
        yield f"{side} pixels", np.clip(large + noise, 0, 255).astype(np.uint8)


def main() -> None:
    """Measure and print tables or JSON."""
    parser = argparse.ArgumentParser(description="compare the resize of frames with other libraries")
    parser.add_argument("--rounds", type=int, default=40, metavar="N", help="calls per case (default 40)")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="count equal classes with its models and photos")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    kernels.warm_up()
    machine = describe_machine()
    times = [measure(*size, args.rounds) for size in SIZES]
    counts = []
    if args.data is not None:
        with tempfile.TemporaryDirectory() as folder:
            counts = agreement(args.data, Path(folder))
    if args.json:
        print(json.dumps({"machine": machine, "rounds": args.rounds, "resize": times, "agreement": counts}, indent=2))
        return
    print(format_machine(machine))
    print(f"medians of {args.rounds} interleaved calls on one thread; 2x means twice the time of copying the frame")
    print(time_table(times))
    if counts:
        print(agreement_table(counts))


def time_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table of the times, one row per frame size."""
    names = list(rows[0]["ms"])
    return tables.table(
        ("frame", *names),
        (
            (
                "x".join(map(str, row["frame"])),
                *(
                    f"{row['ms'][name]:.2f} ms" + (f" ({row['speedup'][name]:.1f}x)" if name in row["speedup"] else "")
                    for name in names
                ),
            )
            for row in rows
        ),
    )


def agreement_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table of the equal classes, one row per model, resize and size of the photos."""
    return tables.table(
        ("model, resize, photos", "number", *get_args(Interpolation)),
        (
            (f"{row['model']}, {row['resize']}, {row['photos']}", str(row["count"]), *map(str, row["equal"].values()))
            for row in rows
        ),
    )


if __name__ == "__main__":
    main()
