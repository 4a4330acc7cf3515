"""Write a model file whose linear head has other weights."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, ValueInfoProto

from camrt.errors import ExportError
from camrt.export.graph.graph import Graph, copy_model
from camrt.export.graph.session import open_session, run_session
from camrt.export.graph.write import write_model
from camrt.export.quantize.quantize import read_model_file
from camrt.export.verify.checks import TOLERANCE, relative_error
from camrt.export.verify.quantized import verify_quantized
from camrt.files import check_target
from camrt.model_file import CAM_BIAS, CAM_WEIGHTS, FEATURES, LOGITS, SCORES

F32 = NDArray[np.float32]
_ACTIVATIONS: Final = {"softmax": "Softmax", "sigmoid": "Sigmoid", "none": "Identity"}


def replace_head(
    source: str | Path,
    target: str | Path,
    *,
    weights: F32,
    bias: F32,
    images: Sequence[NDArray[np.uint8]],
    origin: Mapping[str, Any],
    overwrite: bool = False,
) -> Mapping[str, Any]:
    """Write a copy of a model file with other weights of its linear head, after the checks of every model file.

    Args:
        source: a model file with one linear head, in float32.
        target: the file to write.
        weights: (K, C) of the head.
        bias: (K,).
        images: uint8 (H, W, 3) BGR at the network's size, at least one, to verify on.
        origin: entries for the metadata ``camrt.source``.
        overwrite: replace an existing target.

    Returns: the record of the verification.

    Raises:
        ExportError: the source is no such file, or the new one fails a check; nothing is written.
        UsageError: the target exists.
        SinkError: the file cannot be written.
    """
    source, target = Path(source), Path(target)
    check_target(target, source, overwrite=overwrite)
    model, info = read_model_file(source)
    if info.head != "linear":
        raise ExportError(f"{source} has a {info.head} head; only the weights of a linear head can be replaced")
    batch = np.stack(images)
    activation = info.activation or "softmax"
    new = _with_head(model, weights, bias, activation)
    # The source's own weights in the new graph must give the source's answers, or the graph differs in more.
    old_weights, old_bias = _outputs(model, [CAM_WEIGHTS, CAM_BIAS], batch[:1])
    if old_weights.shape != weights.shape or old_bias.shape != bias.shape:
        raise ExportError(f"{source} has weights of {old_weights.shape}, and the new ones have {weights.shape}")
    same = _with_head(model, old_weights, old_bias, activation)
    for name in (LOGITS, SCORES):
        (expected,), (values,) = (_outputs(one, [name], batch[:1]) for one in (model, same))
        if not relative_error(values, expected) <= TOLERANCE:
            raise ExportError(f"{source}: its {name} are not those of a linear head on its features; nothing written")
    info = replace(info, source={**info.source, **origin})
    info = replace(info, verification=verify_quantized(new, info, batch))
    other = {entry.key: entry.value for entry in model.metadata_props if not entry.key.startswith("camrt.")}
    onnx.helper.set_model_props(new, other | info.to_metadata())
    write_model(new, target)
    return info.verification


def _with_head(model: ModelProto, weights: F32, bias: F32, activation: str) -> ModelProto:
    graph = Graph(copy_model(model))
    outputs = [ValueInfoProto.FromString(one.SerializeToString()) for one in model.graph.output]
    graph.release_names((CAM_WEIGHTS, CAM_BIAS, LOGITS, SCORES))
    matrix = graph.add_initializer("weights", np.asarray(weights, np.float32))
    row = graph.add_initializer("bias", np.asarray(bias, np.float32))
    graph.add_node("Identity", [matrix], CAM_WEIGHTS)
    graph.add_node("Identity", [row], CAM_BIAS)
    pooled = graph.add_node("Flatten", [graph.add_node("GlobalAveragePool", [FEATURES])], axis=1)
    logits = graph.add_node("Gemm", [pooled, matrix, row], LOGITS, transB=1)
    axis = {"axis": 1} if activation == "softmax" else {}
    graph.add_node(_ACTIVATIONS[activation], [logits], SCORES, **axis)
    graph.sort_topologically()
    graph.prune(outputs)
    return graph.model


def _outputs(model: ModelProto, names: list[str], batch: NDArray[np.uint8]) -> list[Any]:
    return run_session(open_session(model, "the new graph"), names, batch, "the new graph")
