"""How much faster a quantized model file is than the one it was made from, here."""

from functools import partial
from pathlib import Path
from typing import Any

from camrt.benchmarks.interleave import compare, interleave
from camrt.images import Image
from camrt.model_file import InputGeometry
from camrt.runtime.inference.model import Model, load

_TURN = 4
"""Calls in a row, of which the first is not counted."""
_ROUNDS = 40
_SECONDS = 12.0
"""What the whole may take, about."""
_FEWEST = 7


def open_pair(source: Path, quantized: Path) -> tuple[Model, Model]:
    """Open both files on the CPU, to be given pictures that have the network's size already."""
    first = load(source, provider="cpu")
    geometry = InputGeometry(width=first.geometry.width, height=first.geometry.height)
    return load(source, provider="cpu", geometry=geometry), load(quantized, provider="cpu", geometry=geometry)


def speed(first: Model, second: Model, picture: Image) -> dict[str, Any]:
    """Classify a picture by both in turns, on the CPU with a thread a core, as the runtime runs them.

    Returns: ``speedup``, the median ratio of the times of neighbours; ``ms`` and ``source_ms``, medians; ``provider``
    and ``threads``.
    """
    calls = {"source": partial(first, picture), "quantized": partial(second, picture)}
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
