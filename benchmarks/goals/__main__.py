"""Measure the goals of speed within a time limit, print one table, and write a JSON file.

    python -m camrt.benchmarks.goals [--seconds S] [--json FILE]

``benchmarks/gpu.sh`` runs it on a bare machine. `camrt.benchmarks.report.report` merges the JSON file into the
documents.
"""

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from camrt.benchmarks.goals.goals import goals_table
from camrt.benchmarks.goals.parts import PARTS, Setup, run_part
from camrt.benchmarks.machine import describe_gpu, describe_machine
from camrt.errors import CamrtError

_TURN_S = 2.0
_LATE, _SHARE = 4.0, 0.5
"""A part is ended after so many times its planned duration, but not before this share of the time that is left."""
_SHORTEST = 0.7
"""Share of a part's planned duration that must be left, so that it is started."""


def measure(setup: Setup, seconds: float) -> dict[str, Any]:
    """Run the parts one after the other, each in its own process.

    Args:
        setup: model files, provider and durations.
        seconds: limit for all parts; what does not fit is left out.

    Returns: ``date``, ``machine`` with ``gpu``, ``provider``; ``parts``, the results by name; ``missing``, the reasons
    of the parts without a result; ``failed``, those of them that began and did not end.
    """
    end_s = time.monotonic() + seconds
    parts: dict[str, Any] = {}
    missing: dict[str, str] = {}
    failed: list[str] = []
    no_gpu: str | None = None
    for name, part in PARTS.items():
        left_s = end_s - time.monotonic()
        planned_s = part.planned_s(setup)
        if part.on_gpu and no_gpu is not None:
            missing[name] = no_gpu
        elif left_s < _SHORTEST * planned_s:
            missing[name] = f"left out: it takes about {planned_s:.0f} s, and {max(left_s, 0):.0f} s are left"
        else:
            print(f"{name} (about {planned_s:.0f} s; {left_s:.0f} s are left)", file=sys.stderr, flush=True)
            try:
                parts[name] = _in_process(name, setup, min(left_s, max(_SHARE * left_s, _LATE * planned_s)))
            except CamrtError as error:
                missing[name] = str(error)
                if part.on_gpu and missing[name].startswith(f"provider '{setup.provider}' cannot run: "):
                    no_gpu = missing[name]
                else:
                    failed.append(name)
    machine = describe_machine() | {"gpu": describe_gpu()}
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {
        "date": date,
        "machine": machine,
        "provider": setup.provider,
        "parts": parts,
        "missing": missing,
        "failed": failed,
    }


def _in_process(name: str, setup: Setup, limit_s: float) -> Any:
    """Return the result of a part. Raises: CamrtError: it failed, or took longer than the limit."""
    command = [sys.executable, "-W", "ignore", "-m", "camrt.benchmarks.goals", "--part", name]
    command += ["--folder", str(setup.folder), "--provider", setup.provider, "--turn", str(setup.turn_s)]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise CamrtError(f"ended after {limit_s:.0f} s") from error
    lines = run.stderr.strip().splitlines()
    if run.returncode:
        raise CamrtError(lines[-1] if lines else f"its process ended with status {run.returncode}")
    return json.loads(run.stdout.splitlines()[-1])


def main() -> int:
    """Measure, write and print; returns the exit status: 1 if a part failed or took too long."""
    parser = argparse.ArgumentParser(description="measure the goals of speed")
    parser.add_argument("--seconds", type=float, default=400.0, metavar="S", help="limit for all parts (default 400)")
    parser.add_argument(
        "--turn", type=float, default=_TURN_S, metavar="S", help=f"per measurement (default {_TURN_S:g})"
    )
    parser.add_argument("--provider", default="cuda", metavar="P", help="of the rows of a GPU (default cuda)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part is not None:
        return _run_part(args.part, Setup(folder=args.folder, provider=args.provider, turn_s=args.turn))
    with tempfile.TemporaryDirectory() as folder:
        report = measure(Setup(folder=Path(folder), provider=args.provider, turn_s=args.turn), args.seconds)
    if args.json is not None:
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(goals_table(report))
    return 1 if report["failed"] else 0


def _run_part(name: str, setup: Setup) -> int:
    try:
        result = run_part(name, setup)
    except CamrtError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
