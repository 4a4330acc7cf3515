"""Prove a quantized model file before it is written: valid, finite, and its maps add up to its logits."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from camrt.export.graph import session as ort
from camrt.export.graph.synthetic_images import Pictures
from camrt.export.quantize.fidelity import maps_of
from camrt.export.verify.model import HALF_TOLERANCE, TOLERANCE, Checks, check_finite, check_valid
from camrt.model_file import CAM_BIAS, CAM_WEIGHTS, EXACT, LOGITS, OUTPUTS, ModelInfo

Results = dict[str, NDArray[Any]]
MOST = 32
"""Pictures that it is verified on at most."""


def verify_quantized(model: ModelProto, info: ModelInfo, pictures: Pictures) -> dict[str, Any]:
    """Run a quantized model file and return the record for its metadata.

    The identity is held to the tolerance of a file in float32: the pool adds integers up and the linear layer is in
    float32, so nothing between the maps and the logits is rounded.

    Args:
        model: the file.
        info: its metadata.
        pictures: uint8 (N, H, W, 3), BGR, at the network's size.

    Raises:
        ExportError: it is not valid, cannot be run, gives what is no number, mixes the pictures of a batch, or its maps
            do not add up to its logits.
    """
    assert info.head is not None
    check_valid(model)
    pictures = pictures[:MOST]
    names = list(OUTPUTS[info.head])
    session = ort.open_session(model, "the new graph")

    def run(batch: Pictures) -> Results:
        return dict(zip(names, ort.run(session, names, batch, "the new graph"), strict=True))

    singles = [run(picture[None]) for picture in pictures]
    for single in singles:
        check_finite(single)
    checks = Checks(HALF_TOLERANCE if info.quantization["kind"] == "fp16" else TOLERANCE)
    ends = np.concatenate([singles[0][LOGITS], singles[-1][LOGITS]])
    checks.add_batch(run(pictures[[0, -1]])[LOGITS], ends)
    if info.head in EXACT:
        logits = np.concatenate([single[LOGITS] for single in singles]).astype(np.float64)
        rebuilt = np.stack([_rebuilt(single, info) for single in singles])
        checks.add_identity("the class activation maps do not add up to the logits", rebuilt, logits, TOLERANCE)
    return {**checks.record, "pictures": f"{len(pictures)} real", "onnxruntime": ort.version()}


def _rebuilt(results: Results, info: ModelInfo) -> NDArray[np.float64]:
    """Return the logits, (K,), that the maps of one picture add up to."""
    scale, zero_point = info.quantization_params or (1.0, 0)
    means = (results[maps_of(info)][0].mean(axis=(1, 2), dtype=np.float64) - zero_point) * scale
    if info.head == "pooled_class_maps":
        return np.asarray(means)
    return np.asarray(results[CAM_WEIGHTS].astype(np.float64) @ means + results[CAM_BIAS])
