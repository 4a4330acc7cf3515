"""Has anything become slower? Compares ratios, not times, with those that are committed.

    python -m camrt.benchmarks.report.regression_check [--committed FILE] [--rounds N]

Measures everything (`report`), on as many threads as the committed numbers were; where anything lost more than a fifth,
measures again, prints what lost so much both times and exits with status 1 where anything did. On another processor
ratios differ for other reasons: commit its own first.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from camrt.benchmarks.report import report

COMMITTED: Final = Path("docs/performance.json")
_MOST_LOST: Final = 0.2
_OWN: Final = ("by value", "cropped", "letterboxed")
"""Ways of camrt's own, whose times are given as multiples of the plain overlay's."""


def ratios(measured: Mapping[str, Any]) -> dict[str, float]:
    """Return the ratios of a report by name; each is better the greater it is."""
    found = {f"live {row['model']} {row['frame']}": row["ratio"] for row in measured["live"]}
    found |= {f"{row['cameras']} cameras": row["throughput"] for row in measured["cameras"]}
    for part in ("whole_frame", "libraries", "overlay"):
        for row in measured[part]:
            case = f"{part} {row['frame']} {row.get('map', '')} {row['threads']} threads"
            found |= {f"{case}, {rival}": times for rival, times in row["speedup"].items() if rival not in _OWN}
            found |= {f"{case}, {way}": 1 / row["speedup"][way] for way in _OWN if way in row["speedup"]}
    return found


def lost(committed: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Return (committed, now) of every ratio that fell by more than a fifth, by name."""
    before, after = ratios(committed), ratios(now)
    return {
        name: (before[name], after[name])
        for name in before.keys() & after.keys()
        if after[name] < (1 - _MOST_LOST) * before[name]
    }


def judge(committed: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> int:
    """Print what was lost in every run; returns the exit status, 1 where anything was."""
    losses = [lost(committed, now) for now in runs]
    always = sorted(set.intersection(*(set(found) for found in losses)))
    for name in always:
        print(f"{name}: {losses[0][name][0]:.2f} -> {', '.join(f'{found[name][1]:.2f}' for found in losses)}")
    print(f"{len(always)} of {len(ratios(committed))} ratios lost more than {_MOST_LOST:.0%}")
    return 1 if always else 0


def main() -> int:
    """Measure and compare; returns the exit status."""
    parser = argparse.ArgumentParser(description="compare ratios with the committed ones")
    parser.add_argument("--committed", type=Path, default=COMMITTED, metavar="FILE", help=f"default: {COMMITTED}")
    parser.add_argument("--rounds", type=int, default=25, help="interleaved rounds (default 25)")
    args = parser.parse_args()
    committed = json.loads(args.committed.read_text(encoding="utf-8"))
    runs = [report.measure(committed["threads"], args.rounds)]
    if lost(committed, runs[0]):
        runs.append(report.measure(committed["threads"], args.rounds))
    return judge(committed, runs)


if __name__ == "__main__":
    raise SystemExit(main())
