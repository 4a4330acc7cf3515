"""Check for performance regressions: compare ratios, not times, with the committed ones.

    python -m camrt.benchmarks.report.regression_check [--committed FILE] [--rounds N]

Runs all measurements of `report` with the committed number of threads. If a ratio fell by more than a fifth, it runs
them again. It prints the ratios that fell so much both times, and exits with status 1 if there are any. On another
processor ratios differ for other reasons: commit its report first.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from camrt.benchmarks.report.report import measure

COMMITTED: Final = Path("docs/performance.json")
_MAX_LOSS: Final = 0.2
_VARIANTS: Final = ("by value", "cropped", "letterboxed")
"""camrt's own variants: their times are multiples of the time of the plain overlay, so smaller is better."""


def ratios(report: Mapping[str, Any]) -> dict[str, float]:
    """Return the ratios of a report by name; greater is better."""
    values = {f"live {row['model']} {row['frame']}": row["ratio"] for row in report["live"]}
    values |= {f"{row['cameras']} cameras": row["throughput"] for row in report["cameras"]}
    for part in ("whole_frame", "libraries", "overlay"):
        for row in report[part]:
            case = f"{part} {row['frame']} {row.get('map', '')} {row['threads']} threads"
            for name, ratio in row["speedup"].items():
                values[f"{case}, {name}"] = 1 / ratio if name in _VARIANTS else ratio
    return values


def regressions(committed: Mapping[str, Any], current: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Return (committed, current) of every ratio that fell by more than a fifth, by name."""
    before, after = ratios(committed), ratios(current)
    return {
        name: (before[name], after[name])
        for name in before.keys() & after.keys()
        if after[name] < (1 - _MAX_LOSS) * before[name]
    }


def compare_runs(committed: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> int:
    """Print the ratios that fell by more than a fifth in every run; returns the exit status, 1 if there are any."""
    by_run = [regressions(committed, run) for run in runs]
    names = sorted(set.intersection(*map(set, by_run)))
    for name in names:
        print(f"{name}: {by_run[0][name][0]:.2f} -> {', '.join(f'{run[name][1]:.2f}' for run in by_run)}")
    print(f"{len(names)} of {len(ratios(committed))} ratios fell by more than {_MAX_LOSS:.0%}")
    return 1 if names else 0


def main() -> int:
    """Measure and compare; returns the exit status."""
    parser = argparse.ArgumentParser(description="check for performance regressions")
    parser.add_argument("--committed", type=Path, default=COMMITTED, metavar="FILE", help=f"default: {COMMITTED}")
    parser.add_argument("--rounds", type=int, default=25, help="interleaved rounds (default 25)")
    args = parser.parse_args()
    committed = json.loads(args.committed.read_text(encoding="utf-8"))
    runs = [measure(committed["threads"], args.rounds)]
    if regressions(committed, runs[0]):
        runs.append(measure(committed["threads"], args.rounds))
    return compare_runs(committed, runs)


if __name__ == "__main__":
    raise SystemExit(main())
