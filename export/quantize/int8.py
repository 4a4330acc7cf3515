"""Quantize a model file's backbone to 8-bit integers with ONNX Runtime's tools: static, QDQ, a scale a channel."""

import contextlib
import io
import logging
import platform
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from camrt.errors import ExportError
from camrt.export.error_text import first_line
from camrt.export.graph.graph import Graph, copy_model
from camrt.export.graph.session import onnxruntime_version
from camrt.export.graph.synthetic_images import Images
from camrt.export.head.pooling import find_pooled_maps
from camrt.export.quantize.average_pools import pools_to_convolutions
from camrt.export.quantize.backbone import SplitModel, preprocessing_nodes
from camrt.export.quantize.fold_preprocessing import PLANES, fold_preprocessing, read_pixels
from camrt.export.quantize.pixel_blocks import read_pixel_blocks
from camrt.export.quantize.weight_scales import channel_means, convolution_scales, correct_biases
from camrt.files import temporary_folder
from camrt.model_file import HEAD_INPUT, IMAGE

Method = Literal["minmax", "percentile", "entropy"]
METHODS: Final[dict[Method, str]] = {"minmax": "MinMax", "percentile": "Percentile", "entropy": "Entropy"}
"""Names of ONNX Runtime's calibrators."""
MAX_MEAN_IMAGES: Final = 32
"""Images on which the means of channels are measured, at most."""
LAST_BLOCKS: Final = 4
"""The last convolutions and matrix products, one in this many, are "the last blocks"."""
_CALIBRATION_BATCH: Final[dict[Method, int]] = {"minmax": 16, "percentile": 1, "entropy": 1}
"""Images whose tensors are in memory at once: minmax keeps two numbers of each tensor, the others keep it whole."""
_PROBE: Final = "camrt_probe"
"""A node that reads the maps while ONNX Runtime's tools work: they quantize only what a node reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8Model:
    """A model file in 8 bits, without metadata."""

    model: ModelProto
    quantization_params: tuple[float, int] | None
    """(scale, zero point) of uint8 maps: value = (number - zero point) * scale; None: the maps are float32."""
    float_nodes: int
    """Nodes of the backbone that compute in float32, without those of the preprocessing."""


class Int8Quantizer:
    """Quantizes one network in several ways; what it measures on the images serves all of them."""

    def __init__(self, split: SplitModel, images: Images, *, reduce_range: bool) -> None:
        """Prepare the network and measure it.

        Args:
            split: the network.
            images: uint8 (N, H, W, 3), BGR, at the network's size, to calibrate on.
            reduce_range: use 7 bits for weights, for processors whose 8-bit sums overflow.

        Raises:
            ExportError: ONNX Runtime's tools cannot prepare the network.
        """
        self._split = split
        self._images = images
        self._reduce_range = reduce_range
        self._levels = 63 if reduce_range else 127
        self._backbone = _prepare_backbone(split)
        self._pixels = fold_preprocessing(self._backbone)
        self._preprocessing_nodes = preprocessing_nodes(self._backbone)
        self._scales = convolution_scales(self._backbone, self._levels)
        self._means = channel_means(self._backbone, images[:: -(-len(images) // MAX_MEAN_IMAGES)])
        self._ranges: dict[Method, Any] = {}

    def quantize(self, method: Method, *, last_in_float: bool) -> Int8Model:
        """Quantize the network.

        Args:
            method: how to find the ranges of activations.
            last_in_float: let the last blocks compute in float32.

        Raises:
            ExportError: ONNX Runtime's tools cannot quantize the network.
        """
        float_nodes = self._last_nodes() if last_in_float else []
        backbone = copy_model(self._backbone)
        correct_biases(backbone, self._scales, self._means, self._levels, set(float_nodes))
        with _quiet_tools("quantize the network"):
            quantized = self._add_qdq_pairs(backbone, self._calibrate(method), float_nodes)
        return self._join_head(quantized, len(float_nodes))

    def _last_nodes(self) -> list[str]:
        """Return the names of the nodes of the last blocks."""
        nodes = self._backbone.graph.node
        layers = [index for index, node in enumerate(nodes) if node.op_type in ("Conv", "MatMul", "Gemm")]
        first = layers[-max(1, len(layers) // LAST_BLOCKS)] if layers else len(nodes)
        return [node.name for node in nodes[first:] if node.output[0] != _PROBE]

    def _calibrate(self, method: Method) -> Any:
        """Return the range of each activation, in ONNX Runtime's form."""
        if method not in self._ranges:
            from onnxruntime.quantization import CalibrationMethod, create_calibrator

            batch = _CALIBRATION_BATCH[method]
            with temporary_folder() as folder:
                file = folder / "backbone.onnx"
                file.write_bytes(self._backbone.SerializeToString())
                calibrator = create_calibrator(
                    file,
                    _op_types(),
                    augmented_model_path=str(folder / "augmented.onnx"),
                    calibrate_method=CalibrationMethod[METHODS[method]],
                    extra_options={"symmetric": False},
                )
                for start in range(0, len(self._images), batch):
                    calibrator.collect_data(_ImageReader(self._images[start : start + batch]))
                self._ranges[method] = calibrator.compute_data()
        return self._ranges[method]

    def _add_qdq_pairs(self, backbone: ModelProto, ranges: Any, float_nodes: list[str]) -> ModelProto:
        """Return the backbone with QDQ pairs around every node but those that stay in float32."""
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        kernels = {
            node.input[1] for node in backbone.graph.node if node.op_type == "Conv" and node.name not in float_nodes
        }
        zero = np.array(0, np.int8)
        # ONNX Runtime takes the axis of a tensor from its first channel only.
        overrides = {
            name: [
                {"scale": np.array(step, np.float32), "zero_point": zero} | ({} if index else {"axis": 0})
                for index, step in enumerate(self._scales[name])
            ]
            for name in kernels & set(self._scales)
        }
        if self._pixels is not None:
            tensor, zero_point = self._pixels
            overrides[tensor] = [{"scale": np.array(1, np.float32), "zero_point": np.array(zero_point, np.uint8)}]
        quantizer = QDQQuantizer(
            onnx.shape_inference.infer_shapes(backbone),
            True,
            self._reduce_range,
            QuantType.QInt8,
            QuantType.QUInt8,
            ranges,
            [],
            [*self._preprocessing_nodes, *float_nodes],
            _op_types(),
            {"TensorQuantOverrides": overrides},
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
        model: ModelProto = quantizer.model.model
        if self._pixels is not None:
            read_pixels(model, self._pixels[0])
            read_pixel_blocks(model, PLANES)
        return model

    def _join_head(self, backbone: ModelProto, float_nodes: int) -> Int8Model:
        """Return the model file: an exact head pools the integers, any other head reads their real values."""
        maps = self._split.maps
        graph = Graph(backbone)
        quantizers = [node for node in graph.proto.node if node.op_type == "QuantizeLinear" and node.input[0] == maps]
        if len(quantizers) != 1:
            raise ExportError(
                f"ONNX Runtime's tools leave {maps!r} in float32, so there is nothing to gain; use the file as it is"
            )
        quantizer = quantizers[0]
        if maps == HEAD_INPUT:
            dequantizer = next(
                node for node in graph.consumers(quantizer.output[0]) if node.op_type == "DequantizeLinear"
            )
            graph.rename({maps: graph.unique_name("float_map"), dequantizer.output[0]: maps})
            graph.prune([helper.make_tensor_value_info(maps, TensorProto.FLOAT, self._split.whole.shape(maps))])
            model = self._split.join(graph.model, self._split.head)
            return Int8Model(model=model, quantization_params=None, float_nodes=float_nodes)
        tensors = list(quantizer.input[1:])
        scale, zero_point = (numpy_helper.to_array(graph.initializers[name]).item() for name in tensors)
        params = float(scale), int(zero_point)
        graph.rename({maps: graph.unique_name("float_maps"), quantizer.output[0]: maps})
        graph.prune([helper.make_tensor_value_info(maps, TensorProto.UINT8, ["N", None, None, None])])
        head = self._integer_head(graph, params, tensors)
        model = self._split.join(graph.model, head, TensorProto.UINT8)
        return Int8Model(model=model, quantization_params=params, float_nodes=float_nodes)

    def _integer_head(self, backbone: Graph, params: tuple[float, int], tensors: list[str]) -> list[NodeProto]:
        """Return the head for uint8 maps. Its pool adds integers, so the maps add up to the logits exactly.

        Any other node that reads the maps gets their real values.

        Args:
            backbone: gets the constants.
            params: (scale, zero point) of the maps.
            tensors: the tensors that hold these.
        """
        maps, whole = self._split.maps, self._split.whole
        pools = {
            node.output[0]
            for node in self._split.head
            if maps in node.input
            and (pooled := find_pooled_maps(whole, node.output[0], (1, 1))) is not None
            and (pooled.tensor, pooled.layout) == (maps, "nchw")
        }
        nodes = [node for pool in sorted(pools) for node in self._integer_pool(backbone, pool, params)]
        real_maps = backbone.unique_name("real_maps")
        rest = []
        for node in self._split.head:
            if node.output[0] in pools:
                continue
            rest.append(NodeProto.FromString(node.SerializeToString()))
            rest[-1].input[:] = [real_maps if name == maps else name for name in node.input]
        if any(real_maps in node.input for node in rest):
            nodes.append(helper.make_node("DequantizeLinear", [maps, *tensors], [real_maps], name=real_maps))
        return [*nodes, *rest]

    def _integer_pool(self, backbone: Graph, pool: str, params: tuple[float, int]) -> list[NodeProto]:
        """Return nodes that compute the tensor ``pool``, the mean of uint8 maps over rows and columns.

        float32 adds integers exactly below 2 ** 24, the sum of 65793 cells; ONNX Runtime adds it faster than int32.
        """
        maps, whole = self._split.maps, self._split.whole
        scale, zero_point = params
        height, width = (whole.shape(maps) or ())[2:]
        if height is None or width is None:
            raise ExportError(f"the size of {maps!r} is known at run time only; use the file as it is")
        zero = -float(zero_point * height * width)
        dimensions = len(whole.shape(pool) or ())
        axes = backbone.add_initializer("pool_axes", np.array([2, 3], np.int64))
        # With fewer axes than the sums these two would be broadcast, which takes as long as the sums.
        offset = backbone.add_initializer("pool_offset", np.full([1] * dimensions, zero, np.float32))
        factor = backbone.add_initializer("pool_scale", np.full([1] * dimensions, scale / (height * width), np.float32))
        wide, total, moved = (backbone.unique_name(f"pool_{name}") for name in ("wide", "sum", "moved"))
        return [
            helper.make_node("Cast", [maps], [wide], to=TensorProto.FLOAT),
            helper.make_node("ReduceSum", [wide, axes], [total], keepdims=int(dimensions != 2)),
            helper.make_node("Add", [total, offset], [moved]),
            helper.make_node("Mul", [moved, factor], [pool]),
        ]


def int8_sums_overflow() -> bool:
    """Tell whether this processor adds 8-bit products in 16 bits, where they overflow: x86 without VNNI does."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        return "vnni" not in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


class _ImageReader:
    """Gives ONNX Runtime's calibrators one image after the other."""

    def __init__(self, images: Images) -> None:
        self._images = iter(images)

    def get_next(self) -> dict[str, Any] | None:
        image = next(self._images, None)
        return None if image is None else {IMAGE: image[None]}


def _prepare_backbone(split: SplitModel) -> ModelProto:
    """Return the backbone as ONNX Runtime's tools need it: constants folded, shapes known, its maps read by a node."""
    backbone = copy_model(split.backbone)
    backbone.graph.node.append(helper.make_node("GlobalAveragePool", [split.maps], [_PROBE], name=_PROBE))
    del backbone.graph.output[:]
    backbone.graph.output.append(helper.make_tensor_value_info(_PROBE, TensorProto.FLOAT, ["N", None, 1, 1]))
    with _quiet_tools("prepare the network for quantization"), temporary_folder() as folder:
        from onnxruntime.quantization.shape_inference import quant_pre_process

        source, target = folder / "backbone.onnx", folder / "prepared.onnx"
        source.write_bytes(backbone.SerializeToString())
        quant_pre_process(str(source), str(target), skip_symbolic_shape=True)
        prepared = onnx.load(target)
    # The tool may remove data movement, and with it the name of the maps.
    probe = next(node for node in prepared.graph.node if node.name == _PROBE)
    Graph(prepared).rename({probe.input[0]: split.maps})
    pools_to_convolutions(prepared)
    for number, node in enumerate(prepared.graph.node):
        node.name = node.name or f"prepared_{number}_{node.op_type}"
    return prepared


def _op_types() -> Sequence[str]:
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    return sorted({*QDQRegistry, *QLinearOpsRegistry})


@contextlib.contextmanager
def _quiet_tools(action: str) -> Iterator[None]:
    """Silence ONNX Runtime's tools, and raise their errors as ExportError; ``action`` is what they do."""
    onnxruntime_version()
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    except (ImportError, ExportError):
        raise
    except Exception as error:
        # The tools do not check graphs: whatever their code raises means that they cannot process this one.
        raise ExportError(f"ONNX Runtime failed to {action}: {first_line(error)}") from error
    finally:
        logging.disable(disabled)
