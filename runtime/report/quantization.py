"""The report of `camrt quantize` as one HTML page: numbers, and the maps of both files side by side."""

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from camrt.export.quantize.fidelity import PictureFidelity, badness, by_class
from camrt.export.quantize.quantize import QuantizationReport
from camrt.geometry import place
from camrt.images import Image
from camrt.runtime.inference.model import Model
from camrt.runtime.maps.overlay import OverlayStyle, paint

CLASSES = 24
"""Classes whose worst picture is shown, at most."""
TYPICAL = 6
"""Pictures in the middle of all that are shown."""
SIDE = 224
"""Pixels of a picture's longer side, at least."""

_STYLE = """
:root { color-scheme: light dark; --back: #fff; --text: #1a1d21; --soft: #667; --line: #dde; --bad: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --back: #14171a; --text: #e6e8ea; --soft: #9aa3ad; --line: #30363d; --bad: #ff8a80; }
}
body { background: var(--back); color: var(--text); font: 16px/1.5 system-ui, sans-serif; margin: 0 auto;
  max-width: 64rem; padding: 1rem; }
h1 { font-size: 1.4rem; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .8rem .3rem 0; text-align: left; }
.numbers td { white-space: nowrap; }
.pairs { display: grid; gap: 1.2rem; grid-template-columns: repeat(auto-fill, minmax(min(19rem, 100%), 1fr)); }
figure { margin: 0; } .pair { display: grid; gap: 4px; grid-template-columns: 1fr 1fr; }
img { display: block; width: 100%; } figcaption { color: var(--soft); font-size: .85rem; overflow-wrap: anywhere; }
.bad { color: var(--bad); }
"""


def page(report: QuantizationReport, speed: Mapping[str, Any], first: Model, second: Model) -> str:
    """Return the page: one file that needs nothing else.

    Args:
        report: what `camrt.export.quantize` returned.
        speed: what `quantized_speed.speed` returned.
        first: the file it was made from, opened by `quantized_speed.open_pair`.
        second: the new file.
    """
    pictures = {id(row): picture for row, picture in zip(report.rows, report.pictures, strict=True)}
    classes = by_class(report.rows)
    ordered = sorted(report.rows, key=badness)
    middle = max(0, (len(ordered) - TYPICAL) // 2)

    def figures(rows: Iterable[PictureFidelity]) -> str:
        return "".join(_figure(row, pictures[id(row)], first, second) for row in rows)

    worst = [rows[0] for rows in classes.values()][:CLASSES]
    name, source = (html.escape(path.rsplit("/", 1)[-1]) for path in (report.path, report.source))
    left_out = len(classes) - len(worst)
    more = f" The {left_out} classes that are left out do better." if left_out else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}</title><style>{_STYLE}</style></head><body>
<h1>{name} beside {source}</h1>
<p>{html.escape(report.chosen)}. {_pictures(report)}</p>
{_table((), _numbers(report, speed))}
{"".join(f"<p>{html.escape(note)}</p>" for note in report.notes)}
<h2>What was tried</h2>
{_table(("way", "same answer", "correlation, median", "least"), _tries(report))}
<h2>Worst picture of each class</h2>
<p>Left the original, right the quantized file; both show the class that the original predicts.{more}</p>
<div class="pairs">{figures(worst)}</div>
<h2>Typical pictures</h2>
<div class="pairs">{figures(ordered[middle : middle + TYPICAL])}</div>
<h2>Every class</h2>
{_table(("class", "pictures", "same answer", "correlation, median", "least", "worst picture"), _classes(classes))}
</body></html>
"""


def _pictures(report: QuantizationReport) -> str:
    if not report.calibrated_on:
        return f"Judged by {len(report.rows)} pictures."
    judges = f"{len(report.rows)} others" if report.held_out else "the same"
    return f"Calibrated on {report.calibrated_on} pictures, judged by {judges}."


def _numbers(report: QuantizationReport, speed: Mapping[str, Any]) -> list[tuple[str, str]]:
    fidelity = report.fidelity
    return [
        ("size", f"{report.size / 1e6:.2f} MB, {report.source_size / report.size:.2f} times smaller"),
        (
            "speed",
            f"{speed['speedup']:.2f} times as fast here: {speed['ms']:.2f} ms for {speed['source_ms']:.2f} "
            f"({speed['provider']}, {speed['threads']} threads)",
        ),
        ("same answer", f"{fidelity.top1_agreement:.1%}"),
        (
            "correlation of the maps (Pearson)",
            f"{fidelity.pearson_median:.4f} median, {fidelity.pearson_least:.4f} least",
        ),
        ("correlation of their ranks", f"{fidelity.rank_median:.4f} median"),
        ("overlap of the 20 % boxes (IoU)", f"{fidelity.box_iou_median:.3f} median"),
        ("distance of the peaks", f"{fidelity.peak_distance_median:.1%} of the diagonal, median"),
    ]


def _tries(report: QuantizationReport) -> list[tuple[str, ...]]:
    return [
        (
            attempt.way,
            f"{attempt.fidelity.top1_agreement:.1%}",
            f"{attempt.fidelity.pearson_median:.4f}",
            f"{attempt.fidelity.pearson_least:.4f}",
        )
        for attempt in report.tries
    ]


def _classes(classes: Mapping[int, Sequence[PictureFidelity]]) -> list[tuple[str, ...]]:
    return [
        (
            rows[0].label,
            str(len(rows)),
            f"{np.mean([row.class_id == row.other_class_id for row in rows]):.0%}",
            f"{np.median([row.pearson for row in rows]):.4f}",
            f"{min(row.pearson for row in rows):.4f}",
            rows[0].name,
        )
        for rows in classes.values()
    ]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _figure(row: PictureFidelity, picture: Image, first: Model, second: Model) -> str:
    pair = "".join(f'<img alt="{alt}" src="{_drawn(model, picture, row.class_id)}">' for alt, model in
                   (("original", first), ("quantized", second)))  # fmt: skip
    says = ""
    if row.class_id != row.other_class_id:
        says = f' <span class="bad">quantized: {html.escape(row.other_label)}</span>'
    return (
        f'<figure><div class="pair">{pair}</div><figcaption>{html.escape(row.label)}{says}<br>'
        f"correlation {row.pearson:.3f}, boxes {row.box_iou:.2f}, peaks {row.peak_distance:.0%} apart<br>"
        f"{html.escape(row.name)}</figcaption></figure>"
    )


def _drawn(model: Model, picture: Image, class_id: int) -> str:
    """Return the map over a network's input as a ``data:`` address; small inputs are enlarged."""
    cam = model(picture).visible_cam(class_id)
    height, width = picture.shape[:2]
    factor = max(1.0, SIDE / max(height, width))
    size = round(width * factor), round(height * factor)
    frame = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    over = paint(frame, cam, place(model.geometry, *size), OverlayStyle())
    _, data = cv2.imencode(".jpg", over, [cv2.IMWRITE_JPEG_QUALITY, 85])
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
