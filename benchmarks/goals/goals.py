"""The goals, and the verdict on each: a table of measured values."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from camrt.benchmarks.goals.parts import FIRST, MANY, MOST_CORES, PARTS, SECOND, SEVERAL
from camrt.benchmarks.machine import format_machine
from camrt.benchmarks.report.tables import table

MET, SHORT, NOT_MEASURED = "met", "short", "not measured"
Report = Mapping[str, Any]
"""What `camrt.benchmarks.goals` writes as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One row of the table."""

    name: str
    part: str
    """The part of `parts.PARTS` that measures it."""
    value: Callable[[Any], float]
    """Returns the value from the part's result."""
    limit: float
    at_least: bool = True
    """The value must be at least the limit; else at most."""
    unit: str = "x"
    """``x``, ``fps`` or ``%``."""
    cores: int = 1
    """Fewest cores of a machine that can reach it."""
    detail: Callable[[Any], str] | None = None
    """Returns the numbers behind a ratio."""


def _graph_ratio(network: str, result: Any) -> float:
    return float(result[network]["ratio"])


def _graph_ms(network: str, result: Any) -> str:
    ms = result[network]["ms"]
    return f"{ms['camrt']:.2f} / {ms['by hand']:.2f} ms"


def _speedup(library: str, result: Any) -> float:
    return float(result["speedup"][library])


def _library_ms(library: str, result: Any) -> str:
    return f"{result['ms'][library]:.1f} / {result['ms']['camrt']:.2f} ms"


def _fps(rows: Any) -> str:
    return f"{rows[1]['fps']:.0f} / {rows[0]['fps']:.0f} fps"


def _pools(cores: int, rows: Any) -> Mapping[str, Any]:
    return next(row for row in rows if row["cores"] == cores)


def _pool_ratio(cores: int, rows: Any) -> float:
    return float(_pools(cores, rows)["ratio"])


def _pool_ms(cores: int, rows: Any) -> str:
    default, times = str(_pools(cores, rows)["default"]), _pools(cores, rows)["ms"]
    fastest = min(times, key=lambda count: times[count])
    return f"{default} threads {times[default]:.2f} ms, {fastest} threads {times[fastest]:.2f} ms"


GOALS: Final = (
    *(
        Goal(
            name=f"CUDA, inference of one frame, {text}: camrt / a captured graph replayed by hand, copies included",
            part="inference",
            value=partial(_graph_ratio, network),
            limit=1.25,
            at_least=False,
            detail=partial(_graph_ms, network),
        )
        for network, text in ((FIRST, "MobileNetV2"), (SECOND, "ResNet-50 fp16"))
    ),
    *(
        Goal(
            name=f"CUDA, whole frame at 1080p: {library} / camrt",
            part="whole_frame",
            value=partial(_speedup, library),
            limit=60,
            detail=partial(_library_ms, library),
        )
        for library in ("pytorch-grad-cam", "torchcam")
    ),
    Goal(
        name=f"CUDA, streams of 1080p from memory: {SEVERAL} / one",
        part="streams",
        value=lambda rows: rows[1]["throughput"],
        limit=3,
        detail=_fps,
    ),
    Goal(
        name=f"CUDA, {SEVERAL} streams of 1080p from memory, on 16 cores",
        part="streams",
        value=lambda rows: rows[1]["fps"],
        limit=1800,
        unit="fps",
        cores=MOST_CORES,
    ),
    Goal(
        name=f"CUDA, {MANY} streams of 720p from memory",
        part="many_streams",
        value=lambda rows: rows[0]["fps"],
        limit=1920,
        unit="fps",
    ),
    Goal(
        name=f"CUDA, {MANY} streams of 720p: (fastest - slowest stream) / mean",
        part="many_streams",
        value=lambda rows: 100 * rows[0]["spread"],
        limit=10,
        at_least=False,
        unit="%",
    ),
    Goal(
        name=f"CPU, 16 cores, streams of 1080p from memory: {SEVERAL} / one",
        part="cpu_streams",
        value=lambda rows: rows[1]["throughput"],
        limit=2,
        cores=MOST_CORES,
        detail=_fps,
    ),
    *(
        Goal(
            name=f"overlay at 1080p on {cores} cores: default number of threads / fastest",
            part="drawing",
            value=partial(_pool_ratio, cores),
            limit=1.1,
            at_least=False,
            cores=cores,
            detail=partial(_pool_ms, cores),
        )
        for cores in (2, 4, 8, 16)
    ),
)


def judge(goal: Goal, report: Report) -> tuple[str, str, str | None]:
    """Return the measured value as text; `MET`, `SHORT` or `NOT_MEASURED`; and the reason of the last."""
    cores = report["machine"]["cores"]
    reason = report["missing"].get(goal.part)
    if reason is None and cores < goal.cores:
        reason = f"it needs {goal.cores} cores, and this machine has {cores}"
    if reason is not None:
        return "", NOT_MEASURED, reason
    result = report["parts"][goal.part]
    value = goal.value(result)
    text = f"{value:.2f}x" if goal.unit == "x" else f"{value:.0f} {goal.unit}"
    if goal.detail is not None:
        text += f" ({goal.detail(result)})"
    if PARTS[goal.part].on_gpu and report["provider"] != "cuda":
        return text, NOT_MEASURED, f"it was measured with provider {report['provider']!r}, to test this program"
    reached = value >= goal.limit if goal.at_least else value <= goal.limit
    return text, MET if reached else SHORT, None


def goals_table(report: Report) -> str:
    """Return the machine, the table of goals, values and verdicts, and the reasons of missing values, as Markdown."""
    rows, reasons = [], []
    for goal in GOALS:
        limit = f"{goal.limit:g}{'' if goal.unit == 'x' else ' '}{goal.unit} or {'more' if goal.at_least else 'less'}"
        value, verdict, reason = judge(goal, report)
        if reason is not None:
            if reason not in reasons:
                reasons.append(reason)
            verdict += f" ({reasons.index(reason) + 1})"
        rows.append((goal.name, limit, value, verdict))
    gpu = report["machine"]["gpu"] or "no NVIDIA GPU"
    head = f"{gpu}; {format_machine(report['machine'])}. Measured on {report['date']}."
    notes = [f"{number}. {reason}" for number, reason in enumerate(reasons, 1)]
    shown = table(("goal", "limit", "measured", "verdict"), rows)
    return "\n\n".join([head, shown, *(["Not measured:\n\n" + "\n".join(notes)] if notes else [])])
