"""Convert a model file's backbone to 16-bit floats, with ONNX Runtime's converter."""

import logging

from onnx import ModelProto, TensorProto

from camrt.errors import ExportError
from camrt.export.error_text import first_line
from camrt.export.graph.graph import copy_model
from camrt.export.graph.session import onnxruntime_version
from camrt.export.quantize.backbone import SplitModel, preprocessing_nodes


def to_half(split: SplitModel) -> ModelProto:
    """Return a model file whose backbone computes in 16-bit floats; its preprocessing and its maps stay float32.

    Raises:
        ExportError: ONNX Runtime's converter fails.
        MissingExtra: ONNX Runtime is not installed.
    """
    onnxruntime_version()
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.transformers.float16 import convert_float_to_float16

    backbone = copy_model(split.backbone)
    logging.getLogger("onnxruntime.transformers.float16").setLevel(logging.ERROR)
    try:
        half = convert_float_to_float16(backbone, keep_io_types=True, node_block_list=preprocessing_nodes(backbone))
    except (AssertionError, ValueError, KeyError, RuntimeError) as error:
        raise ExportError(
            f"ONNX Runtime failed to convert the network to 16-bit floats: {first_line(error)}"
        ) from error
    ordered = ONNXModel(half)
    ordered.topological_sort()  # the converter appends its Cast nodes at the end
    return split.join(ordered.model, split.head, TensorProto.FLOAT)
