"""Differences between a frame in a batch and the frame alone: docs/providers.md states them for each provider."""

WITHIN_BATCH = {
    "`cpu`, fp32": 1e-5,
    "`openvino` on a processor, fp32": 1e-4,
    "`cuda`, fp32 with TF32": 1e-3,
    "`cuda`, fp32 with `use_tf32=0`": 1e-5,
}
"""Largest difference of logits and maps, as a share of the largest value."""
