"""Measure how much faster a quantized model file is than the file it was made from, on this machine."""

from functools import partial
from pathlib import Path
from typing import Any

from camrt.images import Image
from camrt.interleaved_timing import compare, interleave
from camrt.model_file import InputGeometry
from camrt.runtime.inference.model import Model, load

_TURN = 4
"""Calls in a row; the first is not counted."""
_ROUNDS = 40
_SECONDS = 12.0
"""Approximate limit for all rounds."""
_FEWEST = 7


def open_pair(source: Path, quantized: Path) -> tuple[Model, Model]:
    """Open both files on the CPU, for images that have the size of the network's input already."""
    first = load(source, provider="cpu")
    geometry = InputGeometry(width=first.geometry.width, height=first.geometry.height)
    return load(source, provider="cpu", geometry=geometry), load(quantized, provider="cpu", geometry=geometry)


def compare_speed(source: Model, quantized: Model, image: Image) -> dict[str, Any]:
    """Classify one image with both models in turn.

    Args:
        source: model of the original file.
        quantized: model of the quantized file.
        image: uint8 (H, W, 3) BGR.

    Returns: ``speedup``, the median ratio of the times of neighbours, original to quantized; ``ms`` and ``source_ms``,
    medians in milliseconds; ``provider`` and ``threads`` of the quantized model.
    """
    calls = {"source": partial(source, image), "quantized": partial(quantized, image)}
    once_s = sum(times[0] for times in interleave(calls, 1, turn=2).values())
    rounds = min(_ROUNDS, max(_FEWEST, round(_SECONDS / (_TURN * max(once_s, 1e-6)))))
    measured = compare(interleave(calls, rounds, turn=_TURN), to="quantized")
    return {
        "speedup": measured["speedup"]["source"],
        "ms": measured["ms"]["quantized"],
        "source_ms": measured["ms"]["source"],
        "provider": quantized.provider,
        "threads": quantized.threads,
    }
