"""Examine one subject in the process that was started for it."""

import importlib
import json
from dataclasses import asdict


def report(subject: str) -> None:
    """Write the findings about a subject to the standard output as they come, one JSON object a line."""
    for finding in importlib.import_module(f"camrt.runtime.doctor.{subject}").findings():
        print(json.dumps(asdict(finding)), flush=True)
