"""Charts of measurements: frame rates, times of the stages, and times of other libraries."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camrt.errors import MissingExtra, UsageError
from camrt.files import atomic_write, hidden_beside, refuse_existing, write_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg")
# "text.parse_math" would typeset a model name with "$" as a formula.
_RC_PARAMS: dict[Any, Any] = {"svg.fonttype": "none", "font.size": 10, "text.parse_math": False}
_NAME_LENGTH = 26  # characters that fit beside the bars at the default width
_OVERLAY_COLOR, _PLAIN_COLOR = "#d1495b", "#9aa5b1"
_STAGES = {"preprocess": "#9aa5b1", "inference": "#30638e", "cam": "#edae49", "overlay": "#d1495b"}


def check(path: Path, *, overwrite: bool) -> None:
    """Check before a measurement that `draw` can write the file.

    Raises:
        MissingExtra: matplotlib is not installed.
        SinkError: nothing can be written there.
        UsageError: the suffix is not in `SUFFIXES`, or the file exists.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--chart {path}: the name must end in {' or '.join(SUFFIXES)}")
    refuse_existing(path, overwrite=overwrite)
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtra(f"charts need matplotlib ({error}): pip install 'camrt[chart]'") from error
    beside = hidden_beside(path)
    try:
        beside.touch()
        beside.unlink()
    except OSError as error:
        raise write_error(path, error) from error


def draw(path: Path, runs: Sequence[Mapping[str, Any]], machine: Mapping[str, Any]) -> None:
    """Draw the frame rates and stage times of runs of `bench.measure`. The file appears when it is complete.

    Args:
        path: a file with a suffix of `SUFFIXES`.
        runs: what `bench.measure` returned, one or more.
        machine: what `machine.describe_machine` returned.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_RC_PARAMS):
        # Long names would narrow the bars until legends overlap. A character is about 0.1 inches wide.
        extra = max(0, *(len(run["model"]) - _NAME_LENGTH for run in runs))
        figure = Figure(figsize=(11 + 0.1 * extra, 1.6 + 0.75 * len(runs)), layout="constrained")
        rates, times = figure.subplots(1, 2, sharey=True)
        _draw_rates(rates, runs)
        _draw_stages(times, runs)
        rates.set_yticks(range(len(runs)), [_label(run) for run in runs])
        rates.set_ylim(len(runs) - 0.4, -0.6)
        figure.suptitle(f"{machine['cpu']}, {machine['cores']} cores")
        _save(figure, path)


def draw_baselines(path: Path, rows: Sequence[Mapping[str, Any]], machine: Mapping[str, Any]) -> None:
    """Draw rows of `compare.baselines.measure_whole_frame`, one panel per frame size, like `draw`."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_RC_PARAMS):
        figure = Figure(figsize=(11, 3.4), layout="constrained")
        panels = figure.subplots(1, len(rows), sharey=True, squeeze=False)[0]
        for axes, row in zip(panels, rows, strict=True):
            names = list(row["ms"])
            bars = axes.barh(names, row["ms"].values(), 0.7, color=[_OVERLAY_COLOR, *[_PLAIN_COLOR] * (len(names) - 1)])
            axes.bar_label(bars, fmt="%.1f", padding=3)
            axes.margins(x=0.12)
            axes.set_ylim(len(names) - 0.4, -0.6)
            axes.set_xlabel(f"milliseconds from a frame of {'x'.join(map(str, row['frame']))} to its overlay")
            axes.spines[["top", "right"]].set_visible(False)
        figure.suptitle(f"MobileNetV2, {rows[0]['threads']} threads, {machine['cpu']}")
        _save(figure, path)


def _label(run: Mapping[str, Any]) -> str:
    width, height = run["frame"]
    threads = "1 thread" if run["threads"] == 1 else f"{run['threads']} threads"
    return f"{run['model']}\n{width}x{height}, {run['provider']}, {threads}"


def _draw_rates(axes: "Axes", runs: Sequence[Mapping[str, Any]]) -> None:
    for shift, key, color, label in (
        (-0.2, "inference_only", _PLAIN_COLOR, "inference only"),
        (0.2, "overlay", _OVERLAY_COLOR, "with the overlay"),
    ):
        bars = axes.barh(
            [row + shift for row in range(len(runs))], [run["fps"][key] for run in runs], 0.38, color=color, label=label
        )
        axes.bar_label(bars, fmt="%.0f", padding=3)
    axes.margins(x=0.12)
    axes.set_xlabel("frames per second")
    _legend(axes, 2)


def _draw_stages(axes: "Axes", runs: Sequence[Mapping[str, Any]]) -> None:
    ends = [0.0] * len(runs)
    for stage, color in _STAGES.items():
        lengths = [run["stages"][stage]["p50_ms"] for run in runs]
        axes.barh(range(len(runs)), lengths, 0.6, left=ends, color=color, label=stage)
        ends = [end + length for end, length in zip(ends, lengths, strict=True)]
    axes.set_xlabel("milliseconds per stage, medians")
    _legend(axes, len(_STAGES))


def _legend(axes: "Axes", columns: int) -> None:
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def _save(figure: "Figure", path: Path) -> None:
    with atomic_write(path) as part:
        figure.savefig(part, dpi=130)
