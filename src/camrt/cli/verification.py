"""Describe the verification of a model file in words."""

from collections.abc import Mapping
from typing import Any


def describe_verification(record: Mapping[str, Any]) -> str:
    """Return what was compared and how far off it was.

    Args:
        record: ``ModelInfo.verification``; entries that are missing are left out.
    """
    parts = [f"{words} off by {record[key]:.1e}" for key, words in _ERRORS.items() if key in record]
    text = f"on {record.get('images', 'unknown')} images: {', '.join(parts) or 'nothing compared'}"
    identity = describe_identity(record)
    return f"{text}; {identity}" if identity else text


def describe_identity(record: Mapping[str, Any]) -> str:
    """Return how far mean(CAM) + bias was from the logits; empty where it was not compared."""
    if "identity_tolerance_absolute" in record:  # a quantized head
        rounded = (
            f"within {record['identity_error_absolute']:.2g} of the logits, and the rounding of the quantized head "
            f"allows {record['identity_tolerance_absolute']:.2g}"
        )
        if "identity_error_unrounded" not in record:
            return f"mean(CAM) + bias is {rounded}"
        exact = f"within {record['identity_error_unrounded']:.1e} of the largest logit without the head's rounding"
        return f"mean(CAM) + bias is {exact}; with it {rounded}"
    if "identity_error" in record:
        return (
            f"mean(CAM) + bias is within {record['identity_error']:.1e} of the largest logit "
            f"(allowed {record['identity_tolerance']:.1e})"
        )
    return ""


_ERRORS = {
    "input_error": "network input",
    "logits_error": "logits",
    "scores_error": "scores",
    "torch_error": "from torch",
    "batch_error": "two images at once",
    "cells_error": "maps from the head on each cell",
}
"""Relative errors of a record, in words."""
