"""``camrt doctor``: report which parts of the installation work, and the commands that fix the others."""

import argparse
import json
from dataclasses import asdict
from typing import Any

_WIDTH = 9  # of the longest status


def add(commands: Any) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "doctor",
        help="check the installation and print the commands that fix it",
        description="Check Python, its packages, the execution providers, CUDA, OpenCV, the compiled kernels and the "
        "cameras. The check changes nothing. The exit status is 1 if there is a problem; warnings do not count.",
        epilog="example: camrt doctor --json > report.json      (attach it to a bug report)",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the findings as they come; return 1 if one of them is a problem."""
    from camrt.runtime.doctor import examine

    findings = []
    for finding in examine():
        findings.append(finding)
        if not args.json:
            print(f"{finding.status:<{_WIDTH}}{finding.subject}: {finding.text}", flush=True)
            if finding.fix:
                print(f"{'':<{_WIDTH}}fix: {finding.fix}", flush=True)
    counts = {status: sum(finding.status == status for finding in findings) for status in ("problem", "warning")}
    if args.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        words = [f"{count} {status}{'s' if count > 1 else ''}" for status, count in counts.items() if count]
        print(" and ".join(words) or "no problems")
    return 1 if counts["problem"] else 0
