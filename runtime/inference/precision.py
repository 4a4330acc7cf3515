"""Precision of a model file's weights, and the precision that a provider computes in."""

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from camrt.runtime.inference.onnx_header import count_contents

FP32, FP16, INT8 = "fp32", "fp16", "int8"
# Data types of ONNX (https://onnx.ai/onnx/api/classes.html#tensorproto).
_TYPES: Final = {1: FP32, 2: INT8, 3: INT8, 10: FP16, 11: "fp64", 16: "bf16", 21: "int4", 22: "int4"}
_QUANTIZING: Final = ("QuantizeLinear", "DynamicQuantizeLinear", "QLinear", "Integer")
"""Parts of the names of operators that compute in integers; DequantizeLinear alone gives floats to what follows."""
_TF32_OFF: Final = ("0", "false")


def file_precision(path: Path) -> str:
    """Return the precision of a model file: ``fp32``, ``fp16``, ``int8`` and so on.

    It is the data type of most bytes of the weights. A file with integer weights only computes in integers if it
    quantizes activations too; otherwise the precision is ``fp32``.

    Raises:
        OSError, ValueError: the file cannot be read, or is not a protobuf message.
    """
    operators, weights = count_contents(path)
    sizes: dict[str, int] = {}
    for data_type, size in weights.items():
        if kind := _TYPES.get(data_type):
            sizes[kind] = sizes.get(kind, 0) + size
    kind = max(sizes, key=lambda name: sizes[name], default=FP32)
    if kind.startswith("int"):
        quantizes = any(part in name for name in operators - {"DequantizeLinear"} for part in _QUANTIZING)
        return kind if quantizes else FP32
    return kind


def running_precision(precision: str, provider: str, options: Mapping[str, str]) -> str:
    """Return the precision that a provider computes in, as a phrase.

    Args:
        precision: from `file_precision`.
        provider: name of the provider.
        options: the provider's options that the user gave.
    """
    computed = f"{precision} file, computed in"
    if provider in ("cpu", "xnnpack"):
        has_fp16 = platform.machine().lower() in ("aarch64", "arm64")
        return f"{computed} fp32" if precision in (FP16, "bf16") and not has_fp16 else precision
    if provider == "cuda":
        if precision.startswith("int"):
            return f"{computed} floats"
        return f"{precision} with TF32" if precision == FP32 and _has_tf32(options) else precision
    if provider == "openvino":
        device = options.get("device_type", "CPU")
        if hint := _openvino_hint(device, options):
            return f"{computed} {hint}"
        if device == "CPU":
            return f"{computed} fp32" if precision in (FP16, "bf16") else precision
    return f"{computed} the precision that the provider chooses"


def precision_remarks(precision: str, provider: str, options: Mapping[str, str]) -> list[str]:
    """Return what a user of CUDA must know about its results, measured in docs/providers.md."""
    if provider != "cuda":
        return []
    if precision.startswith("int"):
        return [
            f"provider 'cuda' computes this {precision} file in floats: slower than an fp32 file, and its maps differ "
            "from those of the CPU. Make an fp16 file for a GPU: camrt quantize --fp16"
        ]
    if precision == FP32 and _has_tf32(options) and "use_tf32" not in options:
        return [
            "provider 'cuda' computes convolutions and matrix products in TF32: logits differ from the CPU's by 2e-4 "
            "to 6e-4; --provider cuda --provider-option use_tf32=0 computes in fp32"
        ]
    return []


def _has_tf32(options: Mapping[str, str]) -> bool:
    return options.get("use_tf32", "1").lower() not in _TF32_OFF


def _openvino_hint(device: str, options: Mapping[str, str]) -> str | None:
    """Return OpenVINO's property for the precision, if the user set it."""
    try:
        hint = json.loads(options.get("load_config", "{}"))[device]["INFERENCE_PRECISION_HINT"]
    except (ValueError, TypeError, KeyError):
        return options.get("precision")
    return str(hint)
