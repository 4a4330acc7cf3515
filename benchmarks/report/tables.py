"""What was measured, as Markdown tables; and documents that show them between marks.

A block begins with ``<!-- measured: NAME -->`` and ends with ``<!-- end -->``, each on a line of its own.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from camrt.benchmarks.machine import format_machine
from camrt.benchmarks.report import edge_estimate
from camrt.errors import CamrtError

KNOWN = frozenset(
    {"machine", "live", "whole_frame", "libraries", "overlay", "cameras", "summary", "one_core", "edge", "load"}
)
"""What a document may show: `of` makes all but the last, `camrt.benchmarks.endurance.load` that."""

_BLOCK = re.compile(r"(<!-- measured: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

Row = Mapping[str, Any]


def of(report: Mapping[str, Any]) -> dict[str, str]:
    """Return the tables of a report (see `camrt.benchmarks.report.report`), by name."""
    return {
        "machine": f"{format_machine(report['machine'])}. {report['threads']} threads each.",
        "live": live(report["live"]),
        "whole_frame": whole_frame(report["whole_frame"]),
        "libraries": libraries(report["libraries"]),
        "overlay": overlay(report["overlay"]),
        "cameras": cameras(report["cameras"]),
        "summary": summary(report),
        "one_core": one_core(report["one_core"]),
        "edge": estimated(report["one_core"]),
    }


def fill(document: str, tables: Mapping[str, str]) -> str:
    """Return a document with its blocks filled anew. Raises: CamrtError: a block names no table."""

    def replace(found: re.Match[str]) -> str:
        if found[2] in tables:
            return f"{found[1]}{tables[found[2]]}\n{found[3]}"
        if found[2] not in KNOWN:
            raise CamrtError(f"no table {found[2]!r}; known: {', '.join(sorted(KNOWN | tables.keys()))}")
        return found[0]

    return _BLOCK.sub(replace, document)


def live(rows: Sequence[Row]) -> str:
    """Frame rates with and without the overlay."""
    return table(
        ("model, frame", "with / without the overlay", "frames per second", "CPU, cores", "MB"),
        (
            (
                _case(row),
                f"{row['ratio']:.2f}",
                f"{row['fps']['overlay']:.0f} / {row['fps']['inference_only']:.0f}",
                f"{row['cpu_cores']['overlay']:.1f}",
                f"{row['memory_mb']:.0f}",
            )
            for row in rows
        ),
    )


def whole_frame(rows: Sequence[Row]) -> str:
    """From a frame to its overlay, beside other ways: a column a frame size."""
    return _compared(rows, "{:.1f} ms")


def libraries(rows: Sequence[Row]) -> str:
    """The drawing alone, beside other libraries: a column a frame size."""
    return _compared(rows, "{:.2f} ms")


def overlay(rows: Sequence[Row]) -> str:
    """The drawing alone, beside OpenCV's functions: a row a case."""
    ways = list(rows[0]["speedup"])
    return table(
        ("frame, map, threads", "camrt", *ways),
        (
            (
                f"{_size(row)}, {row['map']}, {row['threads']}",
                f"{row['ms']['camrt']:.2f} ms",
                *(f"{row['speedup'][way]:.2f}x" for way in ways),
            )
            for row in rows
        ),
    )


def cameras(rows: Sequence[Row]) -> str:
    """Several cameras on one model."""
    return table(
        ("cameras", "frames per second, together", "of one camera's", "most to least, of the mean"),
        (
            (str(row["cameras"]), f"{row['fps']:.0f}", f"{row['throughput']:.2f}", f"{100 * row['spread']:.0f} %")
            for row in rows
        ),
    )


def one_core(runs: Sequence[Row]) -> str:
    """Where the time of a frame goes on one core."""
    rows = []
    for run in runs:
        times = [stage["p50_ms"] for stage in run["stages"].values()]
        shares = (f"{ms:.2f} ms, {ms / sum(times):.0%}" for ms in times)
        numbers = f"{run['fps']['overlay']:.0f}", f"{run['ratio']:.2f}", f"{edge_estimate.attained(run):.0%}"
        rows.append((_case(run), *shares, *numbers))
    ends = "frames per second", "with / without the overlay", "inference, of the core's peak"
    return table(("model, frame", *runs[0]["stages"], *ends), rows)


def estimated(runs: Sequence[Row]) -> str:
    """Estimates for small devices."""
    return table(
        ("device", "model, frame", "inference", "all else", "frames per second"),
        (
            (
                device.name,
                _case(run),
                f"{numbers['inference_ms']:.0f} ms",
                f"{numbers['other_ms']:.1f} ms",
                f"about {numbers['fps']:.0f}",
            )
            for run, device, numbers in edge_estimate.estimates(runs)
        ),
    )


def summary(report: Mapping[str, Any]) -> str:
    """The few numbers that the README shows."""
    rows = report["whole_frame"]
    first_model = report["live"][0]["model"]
    lives = {tuple(row["frame"]): row for row in report["live"] if row["model"] == first_model}
    shown = [lives[tuple(row["frame"])]["fps"] for row in rows]
    return table(
        ("", *map(_size, rows)),
        [
            (
                "frames per second with the overlay, of those without (`camrt bench`)",
                *(f"{fps['overlay']:.0f} of {fps['inference_only']:.0f}" for fps in shown),
            ),
            ("one whole frame, from pixels to overlay", *(f"{row['ms']['camrt']:.1f} ms" for row in rows)),
            *(
                (f"... with {name}", *(f"{row['speedup'][name]:.1f}x that" for row in rows))
                for name in rows[0]["speedup"]
            ),
        ],
    )


def _compared(rows: Sequence[Row], own: str) -> str:
    return table(
        ("", *map(_size, rows)),
        [
            ("camrt", *(own.format(row["ms"]["camrt"]) for row in rows)),
            *((name, *(f"{row['speedup'][name]:.1f}x" for row in rows)) for name in rows[0]["speedup"]),
        ],
    )


def _case(run: Row) -> str:
    return f"{run['model'].removesuffix('.onnx')}, {_size(run)}"


def _size(row: Row) -> str:
    return "x".join(map(str, row["frame"]))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
