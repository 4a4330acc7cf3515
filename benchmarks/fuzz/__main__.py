"""Run the attacks one after the other, and report what did harm; exit status 1 if anything did."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

from camrt.benchmarks.fuzz import cameras, models, requests
from camrt.benchmarks.fuzz.outcome import Outcome

ATTACKS: Final[dict[str, Callable[[int, float], Outcome]]] = {
    "models": models.attack,
    "cameras": cameras.attack,
    "requests": requests.attack,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m camrt.benchmarks.fuzz", description=__doc__)
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", help=f"{', '.join(ATTACKS)} (default: all)")
    parser.add_argument("--seconds", type=float, default=60.0, metavar="S", help="seconds of each attack (default: 60)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="the same seed gives the same inputs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the outcome to a file")
    args = parser.parse_args(arguments)
    if unknown := set(args.attacks) - set(ATTACKS):
        parser.error(f"no attack {', '.join(sorted(unknown))}; there are {', '.join(ATTACKS)}")
    outcomes = {}
    for name in args.attacks or ATTACKS:
        outcomes[name] = ATTACKS[name](args.seed, args.seconds)
        counts = ", ".join(f"{count} {effect}" for effect, count in sorted(outcomes[name].counts.items()))
        print(f"{name}: {outcomes[name].inputs} inputs in {args.seconds:g} s, seed {args.seed}: {counts}", flush=True)
        for line in outcomes[name].harm:
            print(f"  {line}", flush=True)
    if args.json is not None:
        report = {name: {"counts": dict(one.counts), "harm": one.harm} for name, one in outcomes.items()}
        args.json.write_text(json.dumps({"seed": args.seed, "seconds": args.seconds, "attacks": report}, indent=2))
    return 1 if any(outcome.harm for outcome in outcomes.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
