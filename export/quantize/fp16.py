"""The body of a network in 16-bit floats, by ONNX Runtime's own tool."""

import logging

from onnx import ModelProto, TensorProto

from camrt.errors import ExportError
from camrt.export.error_text import first_line
from camrt.export.graph.graph import copy_model
from camrt.export.graph.session import onnxruntime_version
from camrt.export.quantize.backbone import Parts, pixel_nodes


def to_half(parts: Parts) -> ModelProto:
    """Return a model file whose body computes in 16-bit floats; pixels are prepared, and maps given, in 32 bits.

    Raises:
        ExportError: ONNX Runtime's tool cannot convert it.
    """
    onnxruntime_version()
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.transformers.float16 import convert_float_to_float16

    body = copy_model(parts.body)
    logging.getLogger("onnxruntime.transformers.float16").setLevel(logging.ERROR)
    try:
        half = convert_float_to_float16(body, keep_io_types=True, node_block_list=pixel_nodes(body))
    except (AssertionError, ValueError, KeyError, RuntimeError) as error:
        raise ExportError(f"ONNX Runtime's tool cannot convert the network to 16 bits: {first_line(error)}") from error
    ordered = ONNXModel(half)
    ordered.topological_sort()  # the tool appends its casts
    return parts.join(ordered.model, parts.tail, TensorProto.FLOAT)
