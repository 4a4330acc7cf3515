"""Prove a changed model file before it is written: it is valid and finite, and its maps add up to its logits."""

from typing import Any

import numpy as np
from onnx import ModelProto

from camrt.export.graph.session import onnxruntime_version, open_session, run_session
from camrt.export.graph.synthetic_images import Images
from camrt.export.verify.checks import (
    HALF_TOLERANCE,
    TOLERANCE,
    Checks,
    check_finite,
    check_valid,
    rebuild_logits,
)
from camrt.model_file import EXACT, LOGITS, OUTPUTS, ModelInfo, maps_output

MAX_IMAGES = 32
"""More images take time and show nothing new."""


def verify_quantized(model: ModelProto, info: ModelInfo, images: Images) -> dict[str, Any]:
    """Run a quantized or repaired model file and return the record for its metadata.

    The identity has the tolerance of a float32 file: the pool adds integers and the linear layer is in float32, so
    nothing between the maps and the logits is rounded.

    Args:
        model: the file.
        info: its metadata.
        images: uint8 (N, H, W, 3), BGR, at the network's size; the first `MAX_IMAGES` are used.

    Raises:
        ExportError: the file is not valid, cannot be run, gives NaN or infinite numbers, mixes the images of a batch,
            or its maps do not add up to its logits.
    """
    assert info.head is not None
    check_valid(model)
    images = images[:MAX_IMAGES]
    names = list(OUTPUTS[info.head])
    session = open_session(model, "the new graph")

    def run(batch: Images) -> dict[str, Any]:
        return dict(zip(names, run_session(session, names, batch, "the new graph"), strict=True))

    singles = [run(image[None]) for image in images]
    for single in singles:
        check_finite(single)
    checks = Checks(HALF_TOLERANCE if info.quantization.get("kind") == "fp16" else TOLERANCE)
    ends = np.concatenate([singles[0][LOGITS], singles[-1][LOGITS]])
    checks.add_batch(run(images[[0, -1]])[LOGITS], ends)
    if info.head in EXACT:
        logits = np.concatenate([single[LOGITS] for single in singles]).astype(np.float64)
        maps = np.concatenate([single[maps_output(info.head)] for single in singles])
        scale, zero_point = info.quantization_params or (1.0, 0)
        pooled = (maps.mean(axis=(2, 3), dtype=np.float64) - zero_point) * scale
        rebuilt = rebuild_logits(singles[0], pooled)
        checks.add_identity("the class activation maps do not add up to the logits", rebuilt, logits, TOLERANCE)
    return {**checks.record, "images": f"{len(images)} real", "onnxruntime": onnxruntime_version()}
