"""Compare `camrt collect` with the model alone on images that are in memory.

    python -m camrt.benchmarks.compare.collect MODEL FOLDER [--rounds N] [--images N] [--json FILE]

``FOLDER`` has images, at any depth. Needs the extras ``cpu`` and ``judge``. The alternatives take turns, and each
figure is the median of the ratios of neighbours, so that a load on the machine affects both.
"""

import argparse
import itertools
import json
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from camrt.benchmarks.machine import describe_machine, format_machine
from camrt.images import Image, read_image
from camrt.interleaved_timing import median_ratio
from camrt.media_files import list_folder
from camrt.runtime.collect.collect import Collector, Report
from camrt.runtime.inference.model import Model, load

_LEAST_IMAGES = 256
"""Images of a turn at least: fewer would be done before all workers are ready."""


def measure(model: Model, images: Sequence[Path], rounds: int) -> dict[str, Any]:
    """Run the alternatives in turn.

    ``all threads``: one session with all threads, image after image. ``side by side``: as many sessions as workers,
    each with its share of the threads. ``collect``: the store is written, from files. Splits of the threads over
    workers are compared, too.

    Args:
        model: opened with all threads, on the CPU.
        images: files; they are repeated up to `_LEAST_IMAGES`.
        rounds: turns of each alternative.

    Returns: ``images_per_second`` of each alternative, medians; ``ratio`` of collect to the two ways of the model
    alone; ``workers``: for each number of workers its rate, and its ratio to the default; ``decode_share``.
    """
    files = list(itertools.islice(itertools.cycle(images), max(len(images), _LEAST_IMAGES)))
    decoded = [read_image(file) for file in images]
    pixels = list(itertools.islice(itertools.cycle(decoded), len(files)))
    default = model.threads
    sessions = [load(model.path, "cpu", 1) for _ in range(default)]
    splits = sorted({1, default, 2 * default})
    rates: dict[str, list[float]] = {"all threads": [], "side by side": []}
    rates |= {f"collect {workers}": [] for workers in splits}
    shares = []
    for _ in range(rounds):
        rates["all threads"].append(_rate([model], pixels))
        rates["side by side"].append(_rate(sessions, pixels))
        for workers in splits:
            report = _collect(model, files, workers)
            assert report.images_per_second is not None
            rates[f"collect {workers}"].append(report.images_per_second)
            if workers == default:
                shares.append(report.decode_share)
    usual = rates[f"collect {default}"]
    return {
        "model": model.path.name,
        "images": len(files),
        "rounds": rounds,
        "images_per_second": {
            "model, all threads": statistics.median(rates["all threads"]),
            "model, sessions side by side": statistics.median(rates["side by side"]),
            "collect": statistics.median(usual),
        },
        "ratio": {
            "to the model with all threads": median_ratio(usual, to=rates["all threads"]),
            "to sessions side by side": median_ratio(usual, to=rates["side by side"]),
        },
        "workers": {
            str(workers): {
                "threads": max(1, default // workers),
                "images_per_second": statistics.median(rates[f"collect {workers}"]),
                "ratio_to_default": median_ratio(rates[f"collect {workers}"], to=usual),
            }
            for workers in splits
        },
        "decode_share": statistics.median(share for share in shares if share is not None),
    }


def _rate(models: Sequence[Model], images: Sequence[Image]) -> float:
    """Return the images per second of models side by side, each in a thread of its own."""
    left = iter(images)
    lock = threading.Lock()

    def work(model: Model) -> None:
        while True:
            with lock:
                image = next(left, None)
            if image is None:
                return
            model(image)

    threads = [threading.Thread(target=work, args=(model,)) for model in models]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(images) / (time.perf_counter() - start)


def _collect(model: Model, files: Sequence[Path], workers: int) -> Report:
    folder = Path(tempfile.mkdtemp(prefix="camrt-collect-"))
    try:
        listed = folder / "images.txt"
        listed.write_text("".join(f"{file.absolute()}\n" for file in files))
        return Collector(model, [listed], folder / "maps.parquet", workers=workers).run()
    finally:
        shutil.rmtree(folder)


def main() -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(description="compare camrt collect with the model alone")
    parser.add_argument("model", type=Path, help="model file")
    parser.add_argument("folder", type=Path, help="folder of images")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="turns of each alternative (default 5)")
    parser.add_argument("--images", type=int, metavar="N", help="the first N images only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results")
    args = parser.parse_args()
    images = list_folder(args.folder, subfolders=True).images[: args.images]
    if not images:
        raise SystemExit(f"{args.folder} has no images")
    report = {"machine": describe_machine(), **measure(load(args.model, "cpu"), images, args.rounds)}
    if args.json is not None:
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(format_machine(report["machine"]))
    for name, rate in report["images_per_second"].items():
        print(f"{name:32}{rate:9.1f} images/s")
    for name, ratio in report["ratio"].items():
        print(f"collect {name:32}{ratio:9.2f}")
    for workers, row in report["workers"].items():
        split = f"{workers} workers of {row['threads']} threads"
        print(f"{split:32}{row['images_per_second']:9.1f} images/s, {row['ratio_to_default']:.2f} of the default")
    print(f"{report['decode_share']:.0%} of the workers' time is reading and decoding")


if __name__ == "__main__":
    main()
