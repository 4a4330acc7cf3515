"""Make Markdown tables of measurements, and fill the marked blocks of documents with them.

A block begins with ``<!-- measured: NAME -->`` and ends with ``<!-- end -->``, each on a separate line.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from camrt.benchmarks.machine import format_machine
from camrt.benchmarks.report import edge_estimate
from camrt.errors import CamrtError

NAMES = frozenset(
    {
        "machine",
        "live",
        "whole_frame",
        "libraries",
        "overlay",
        "cameras",
        "streams",
        "summary",
        "one_core",
        "edge",
        "load",
        "gpu",
    }
)
"""Names of tables in documents. `camrt.benchmarks.endurance.load` makes ``load``, `camrt.benchmarks.goals` makes
``gpu``, and `make_tables` all others."""

_BLOCK = re.compile(r"(<!-- measured: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

Row = Mapping[str, Any]


def make_tables(report: Mapping[str, Any]) -> dict[str, str]:
    """Return the tables of a report (see `camrt.benchmarks.report.report`), by name."""
    return {
        "machine": f"{format_machine(report['machine'])}. {report['threads']} threads each.",
        "live": live(report["live"]),
        "whole_frame": whole_frame(report["whole_frame"]),
        "libraries": libraries(report["libraries"]),
        "overlay": overlay(report["overlay"]),
        "cameras": cameras(report["cameras"]),
        "streams": streams(report["streams"]),
        "summary": summary(report),
        "one_core": one_core(report["one_core"]),
        "edge": edge(report["one_core"]),
    }


def fill(document: str, tables: Mapping[str, str]) -> str:
    """Return a document with the given tables in its blocks; blocks of other tables do not change.

    Raises:
        CamrtError: a block names an unknown table.
    """

    def replace(block: re.Match[str]) -> str:
        begin, name, end = block.groups()
        if name in tables:
            return f"{begin}{tables[name]}\n{end}"
        if name not in NAMES:
            raise CamrtError(f"there is no table {name!r}; known tables: {', '.join(sorted(NAMES | tables.keys()))}")
        return block[0]

    return _BLOCK.sub(replace, document)


def live(rows: Sequence[Row]) -> str:
    """Return the table of frame rates with and without the overlay."""
    return table(
        ("model, frame", "ratio with / without overlay", "fps with / without overlay", "cores used", "memory, MB"),
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
    """Return the table of times from a frame to its overlay in every library, one column per frame size."""
    return _comparison(rows, "{:.1f} ms")


def libraries(rows: Sequence[Row]) -> str:
    """Return the table of times of the drawing in every library, one column per frame size."""
    return _comparison(rows, "{:.2f} ms")


def overlay(rows: Sequence[Row]) -> str:
    """Return the table of times of the drawing with camrt and OpenCV, one row per case."""
    names = list(rows[0]["speedup"])
    return table(
        ("frame, map, threads", "camrt", *names),
        (
            (
                f"{_size(row)}, {row['map']}, {row['threads']}",
                f"{row['ms']['camrt']:.2f} ms",
                *(f"{row['speedup'][name]:.2f}x" for name in names),
            )
            for row in rows
        ),
    )


def cameras(rows: Sequence[Row]) -> str:
    """Return the table of several cameras on one model."""
    return table(
        ("cameras", "fps, all cameras", "relative to one camera", "spread between cameras"),
        (
            (str(row["cameras"]), f"{row['fps']:.0f}", f"{row['throughput']:.2f}", f"{100 * row['spread']:.0f} %")
            for row in rows
        ),
    )


def streams(rows: Sequence[Row]) -> str:
    """Return the table of 1 to 64 streams from memory, files and network cameras."""
    header = (
        "streams",
        "number",
        "fps, all together",
        "relative to one",
        "spread",
        "cores: decode",
        "inference",
        "draw",
    )
    return table(
        header,
        (
            (
                row["kind"] + (f", {row['mbit_s']:.1f} Mbit/s" if row["mbit_s"] else ""),
                str(row["cameras"]),
                f"{row['fps']:.0f}",
                f"{row['throughput']:.2f}",
                f"{100 * row['spread']:.0f} %",
                *(f"{row['cores'][stage]:.2f}" if row["cores"] else "" for stage in ("decode", "inference", "draw")),
            )
            for row in rows
        ),
    )


def one_core(runs: Sequence[Row]) -> str:
    """Return the table of stage times on one core."""
    rows = []
    for run in runs:
        times = [stage["p50_ms"] for stage in run["stages"].values()]
        shares = (f"{ms:.2f} ms, {ms / sum(times):.0%}" for ms in times)
        numbers = f"{run['fps']['overlay']:.0f}", f"{run['ratio']:.2f}", f"{edge_estimate.share_of_peak(run):.0%}"
        rows.append((_case(run), *shares, *numbers))
    last_columns = "fps with overlay", "ratio with / without overlay", "inference, share of the core's peak"
    return table(("model, frame", *runs[0]["stages"], *last_columns), rows)


def edge(runs: Sequence[Row]) -> str:
    """Return the table of estimates for small devices."""
    return table(
        ("device", "model, frame", "inference", "all other stages", "fps with overlay"),
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
    """Return the table of the README."""
    rows = report["whole_frame"]
    first_model = report["live"][0]["model"]
    lives = {tuple(row["frame"]): row for row in report["live"] if row["model"] == first_model}
    rates = [lives[tuple(row["frame"])]["fps"] for row in rows]
    return table(
        ("", *map(_size, rows)),
        [
            (
                "frames per second with / without the overlay (`camrt bench`)",
                *(f"{fps['overlay']:.0f} / {fps['inference_only']:.0f}" for fps in rates),
            ),
            ("time from a frame to its overlay", *(f"{row['ms']['camrt']:.1f} ms" for row in rows)),
            *(
                (f"the same with {name}", *(f"{row['speedup'][name]:.1f}x" for row in rows))
                for name in rows[0]["speedup"]
            ),
        ],
    )


def _comparison(rows: Sequence[Row], time_format: str) -> str:
    return table(
        ("", *map(_size, rows)),
        [
            ("camrt", *(time_format.format(row["ms"]["camrt"]) for row in rows)),
            *((name, *(f"{row['speedup'][name]:.1f}x" for row in rows)) for name in rows[0]["speedup"]),
        ],
    )


def _case(run: Row) -> str:
    return f"{run['model'].removesuffix('.onnx')}, {_size(run)}"


def _size(row: Row) -> str:
    return "x".join(map(str, row["frame"]))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table with a header."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
