"""Page of the report of `camrt quantize`: the numbers, and the maps of both files side by side."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any, Final

from camrt.images import Image
from camrt.runtime.inference.model import Model
from camrt.runtime.report import html
from camrt.runtime.report.pictures import with_map

CLASSES: Final = 24
"""Most classes whose worst image is shown."""
TYPICAL: Final = 6
"""Images shown from the middle of all, ordered by similarity."""
SIDE: Final = 224
"""Least pixels of the longer side of a shown image."""

Report = Mapping[str, Any]


def page(report: Report, images: Sequence[Image], source: Model, quantized: Model) -> str:
    """Return the page.

    Args:
        report: what ``camrt quantize --json`` prints.
        images: uint8 (H, W, 3) BGR, the network's inputs, in the order of ``report["images"]``.
        source: the file that was quantized, opened by `open_pair`.
        quantized: the new file, opened by `open_pair`.
    """
    rows = report["images"]
    ordered = sorted(range(len(rows)), key=lambda index: _similarity(rows[index]))
    worst: dict[int, int] = {}
    for index in ordered:
        worst.setdefault(rows[index]["class_id"], index)
    shown = list(worst.values())[:CLASSES]
    middle = max(0, (len(ordered) - TYPICAL) // 2)
    more = f" The other {len(worst) - len(shown)} classes are more alike." if len(worst) > len(shown) else ""

    def figures(indices: Iterable[int]) -> str:
        return html.gallery(_figure(rows[index], images[index], source, quantized) for index in indices)

    name, source_name = PurePath(report["path"]).name, PurePath(report["source"]).name
    return html.document(
        name,
        f"{name} compared with {source_name}",
        [
            html.paragraph(f"{report['selected']}. {_evaluation(report)}"),
            html.table((), _numbers(report)),
            *map(html.paragraph, report["notes"]),
            html.section("Configurations"),
            html.table(("configuration", "same class", "correlation, median", "lowest"), _attempts(report)),
            html.section("Worst image of each class"),
            html.paragraph(
                f"Left: the original. Right: the quantized file. Both show the class that the original predicts.{more}"
            ),
            figures(shown),
            html.section("Typical images"),
            figures(ordered[middle : middle + TYPICAL]),
            html.section("All classes"),
            html.table(
                ("class", "images", "same class", "correlation, median", "lowest", "worst image"), _classes(report)
            ),
        ],
    )


def _similarity(row: Report) -> tuple[bool, float]:
    """Return a sort key, least similar first: another predicted class, then a low correlation of the maps."""
    return row["class_id"] == row["other_class_id"], row["pearson"]


def _evaluation(report: Report) -> str:
    count = report["evaluated_on"]
    if not report["calibrated_on"]:
        return f"Evaluated on {count} images."
    images = f"{count} other images" if report["held_out"] else "the same images"
    return f"Calibrated on {report['calibrated_on']} images, evaluated on {images}."


def _numbers(report: Report) -> list[tuple[str, str]]:
    return [
        ("size", f"{report['size_bytes'] / 1e6:.2f} MB, {report['size_ratio']:.2f} times smaller"),
        (
            "speed",
            f"{report['speedup']:.2f} times as fast on this machine: {report['ms']:.2f} ms instead of "
            f"{report['source_ms']:.2f} ({report['provider']}, {report['threads']} threads)",
        ),
        ("same class", f"{report['top1_agreement']:.1%}"),
        (
            "correlation of the maps (Pearson)",
            f"{report['pearson_median']:.4f} median, {report['pearson_least']:.4f} lowest",
        ),
        ("correlation of their ranks (Spearman)", f"{report['rank_median']:.4f} median"),
        ("overlap of the boxes at 20 % (IoU)", f"{report['box_iou_median']:.3f} median"),
        ("distance of the peaks", f"{report['peak_distance_median']:.1%} of the diagonal, median"),
    ]


def _attempts(report: Report) -> list[tuple[str, ...]]:
    return [
        (
            attempt["configuration"],
            f"{attempt['top1_agreement']:.1%}",
            f"{attempt['pearson_median']:.4f}",
            f"{attempt['pearson_least']:.4f}",
        )
        for attempt in report["attempts"]
    ]


def _classes(report: Report) -> list[tuple[str, ...]]:
    return [
        (
            row["label"],
            str(row["images"]),
            f"{row['top1_agreement']:.0%}",
            f"{row['pearson_median']:.4f}",
            f"{row['pearson_least']:.4f}",
            row["worst"],
        )
        for row in report["classes"]
    ]


def _figure(row: Report, image: Image, source: Model, quantized: Model) -> str:
    pair = (("original", source), ("quantized", quantized))
    changed = row["class_id"] != row["other_class_id"]
    return html.figure(
        [html.inline_image(_drawn(model, image, row["class_id"]), alt) for alt, model in pair],
        [
            row["label"],
            f"correlation {row['pearson']:.3f}, box IoU {row['box_iou']:.2f}, peaks {row['peak_distance']:.0%} apart",
            row["name"],
        ],
        warning=f"quantized: {row['other_label']}" if changed else "",
    )


def _drawn(model: Model, image: Image, class_id: int) -> Image:
    """Return the map of a class over a network's input; small inputs are enlarged."""
    return with_map(image, model(image).visible_cam(class_id), model.geometry, max(SIDE, *image.shape[:2]))
