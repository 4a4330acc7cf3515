"""How much faster a quantized model file is than the one it was made from, here."""

from functools import partial
from pathlib import Path
from typing import Any

from camrt.benchmarks.interleave import compare, interleave
from camrt.export.quantization import QuantizationReport
from camrt.model_file import InputGeometry
from camrt.runtime.model import Model, load

_TURN = 4
"""Calls in a row, of which the first is not counted."""
_ROUNDS = 40
_SECONDS = 12.0
"""What the whole may take, about."""
_FEWEST = 7


def open_both(report: QuantizationReport) -> tuple[Model, Model]:
    """Open both files, the original first, to be given the network's inputs as they are."""
    height, width = report.pictures.shape[1:3]
    geometry = InputGeometry(width=width, height=height)
    first, second = (load(Path(file), provider="cpu", geometry=geometry) for file in (report.source, report.path))
    return first, second


def speed(first: Model, second: Model, report: QuantizationReport) -> dict[str, Any]:
    """Classify a picture by both in turns, on the CPU with a thread a core, as the runtime runs them.

    Returns: ``speedup``, the median ratio of the times of neighbours; ``ms`` and ``source_ms``, medians; ``provider``
    and ``threads``.
    """
    calls = {"source": partial(first, report.pictures[0]), "quantized": partial(second, report.pictures[0])}
    once = sum(times[0] for times in interleave(calls, 1, turn=2).values())
    rounds = min(_ROUNDS, max(_FEWEST, round(_SECONDS / (_TURN * max(once, 1e-6)))))
    found = compare(interleave(calls, rounds, turn=_TURN), to="quantized")
    return {
        "speedup": found["speedup"]["source"],
        "ms": found["ms"]["quantized"],
        "source_ms": found["ms"]["source"],
        "provider": second.provider,
        "threads": second.threads,
    }
