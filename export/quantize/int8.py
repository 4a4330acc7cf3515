"""The body of a network in 8-bit integers, by ONNX Runtime's own tools: static, QDQ, a scale for each channel."""

import contextlib
import io
import logging
import platform
import tempfile
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
from camrt.export.graph.synthetic_images import Pictures
from camrt.export.head.pooling import find_pooled_maps
from camrt.export.quantize.backbone import Parts, pixel_nodes
from camrt.export.quantize.fold_preprocessing import fold_preprocessing, read_pixels
from camrt.export.quantize.weight_scales import channel_means, convolution_scales, correct_biases
from camrt.model_file import ASKED_MAP

Method = Literal["minmax", "percentile", "entropy"]
METHODS: Final[dict[Method, str]] = {"minmax": "MinMax", "percentile": "Percentile", "entropy": "Entropy"}
"""Names of ONNX Runtime's calibrators."""
MEANS_OF: Final = 32
"""Pictures that the means of channels are measured on at most."""
LAST_SHARE: Final = 4
"""One of so many convolutions and matrix products, the last ones, is what "the last blocks" means."""
_AT_ONCE: Final[dict[Method, int]] = {"minmax": 16, "percentile": 1, "entropy": 1}
"""Pictures whose numbers are held at once: of minmax two numbers a tensor, of the others every tensor."""
_PROBE: Final = "camrt_probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantized:
    """A model file in 8 bits, without metadata."""

    model: ModelProto
    grid: tuple[float, int] | None
    """(scale, zero point) of the maps, which are uint8: value = (number - zero point) * scale; None: of float32."""
    float_nodes: int
    """How many nodes of the body kept computing in float32, those that prepare the pixels aside."""


class Quantizer:
    """Makes 8-bit model files of one network; what was measured on the pictures serves every try."""

    def __init__(self, parts: Parts, pictures: Pictures, *, reduce_range: bool) -> None:
        """Prepare.

        Args:
            parts: the network.
            pictures: uint8 (N, H, W, 3), BGR, at the network's size, to calibrate on.
            reduce_range: give weights 7 bits, for processors whose 8-bit sums overflow.

        Raises:
            ExportError: ONNX Runtime's tools cannot prepare it.
        """
        self._parts = parts
        self._pictures = pictures
        self._reduce_range = reduce_range
        self._levels = 63 if reduce_range else 127
        self._body = _prepared(parts)
        self._pixels = fold_preprocessing(self._body)
        self._pixel_nodes = pixel_nodes(self._body)
        self._scales = convolution_scales(self._body, self._levels)
        self._means = channel_means(self._body, pictures[:: -(-len(pictures) // MEANS_OF)])
        self._ranges: dict[Method, Any] = {}

    def quantize(self, method: Method, *, last_in_float: bool) -> Quantized:
        """Return the network with its activations in the ranges that ``method`` finds.

        Args:
            method: of calibration.
            last_in_float: let the last blocks keep computing in float32.

        Raises:
            ExportError: ONNX Runtime's tools cannot quantize it.
        """
        kept = self._last_nodes() if last_in_float else []
        body = copy_model(self._body)
        correct_biases(body, self._scales, self._means, self._levels, set(kept))
        with _tools("quantized"):
            quantized = self._with_qdq(body, self._calibrate(method), [*self._pixel_nodes, *kept])
        return self._joined(quantized, len(kept))

    def _last_nodes(self) -> list[str]:
        nodes = self._body.graph.node
        at = [index for index, node in enumerate(nodes) if node.op_type in ("Conv", "MatMul", "Gemm")]
        first = at[-max(1, len(at) // LAST_SHARE)] if at else len(nodes)
        return [node.name for node in nodes[first:] if node.output[0] != _PROBE]

    def _calibrate(self, method: Method) -> Any:
        if method not in self._ranges:
            from onnxruntime.quantization import CalibrationMethod, create_calibrator

            with tempfile.TemporaryDirectory(prefix="camrt-") as folder:
                file = Path(folder) / "body.onnx"
                file.write_bytes(self._body.SerializeToString())
                calibrator = create_calibrator(
                    file,
                    _op_types(),
                    augmented_model_path=str(Path(folder) / "augmented.onnx"),
                    calibrate_method=CalibrationMethod[METHODS[method]],
                    extra_options={"symmetric": False},
                )
                for start in range(0, len(self._pictures), _AT_ONCE[method]):
                    calibrator.collect_data(_Reader(self._pictures[start : start + _AT_ONCE[method]]))
                self._ranges[method] = calibrator.compute_data()
        return self._ranges[method]

    def _with_qdq(self, body: ModelProto, ranges: Any, kept: list[str]) -> ModelProto:
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        names = {node.input[1] for node in body.graph.node if node.op_type == "Conv" and node.name not in kept}
        zero = np.array(0, np.int8)
        # The axis of a tensor is said once, by its first channel.
        overrides = {
            name: [
                {"scale": np.array(step, np.float32), "zero_point": zero} | ({} if index else {"axis": 0})
                for index, step in enumerate(self._scales[name])
            ]
            for name in names & set(self._scales)
        }
        if self._pixels is not None:
            tensor, point = self._pixels
            overrides[tensor] = [{"scale": np.array(1, np.float32), "zero_point": np.array(point, np.uint8)}]
        quantizer = QDQQuantizer(
            onnx.shape_inference.infer_shapes(body),
            True,
            self._reduce_range,
            QuantType.QInt8,
            QuantType.QUInt8,
            ranges,
            [],
            kept,
            _op_types(),
            {"TensorQuantOverrides": overrides},
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
        model: ModelProto = quantizer.model.model
        if self._pixels is not None:
            read_pixels(model, self._pixels[0])
        return model

    def _joined(self, quantized: ModelProto, float_nodes: int) -> Quantized:
        """Let the integers themselves be the maps and pool them, or let the head be asked about what they mean."""
        maps = self._parts.maps
        graph = Graph(quantized)
        steps = [node for node in graph.proto.node if node.op_type == "QuantizeLinear" and node.input[0] == maps]
        if len(steps) != 1:
            raise ExportError(f"ONNX Runtime's tools leave {maps!r} in float32, so there is nothing to gain")
        if maps == ASKED_MAP:
            real = next(node for node in graph.consumers(steps[0].output[0]) if node.op_type == "DequantizeLinear")
            graph.rename({maps: graph.unique_name("float_map"), real.output[0]: maps})
            graph.prune([helper.make_tensor_value_info(maps, TensorProto.FLOAT, self._parts.whole.shape(maps))])
            model = self._parts.join(graph.model, self._parts.tail)
            return Quantized(model=model, grid=None, float_nodes=float_nodes)
        scale, zero_point = (numpy_helper.to_array(graph.initializers[name]).item() for name in steps[0].input[1:])
        parameters = list(steps[0].input[1:])
        integers = steps[0].output[0]
        graph.rename({maps: graph.unique_name("float_maps"), integers: maps})
        graph.prune([helper.make_tensor_value_info(maps, TensorProto.UINT8, ["N", None, None, None])])
        nodes = self._tail(graph, float(scale), int(zero_point), parameters)
        model = self._parts.join(graph.model, nodes, TensorProto.UINT8)
        return Quantized(model=model, grid=(float(scale), int(zero_point)), float_nodes=float_nodes)

    def _tail(self, body: Graph, scale: float, zero_point: int, parameters: list[str]) -> list[NodeProto]:
        """Return the tail, its pool in integers: their sum is exact, so that the maps add up to the logits exactly.

        Where something else than such a pool reads the maps, it gets what they stand for.
        """
        maps, whole = self._parts.maps, self._parts.whole
        pools = {
            node.output[0]
            for node in self._parts.tail
            if maps in node.input
            and (found := find_pooled_maps(whole, node.output[0], (1, 1))) is not None
            and (found.tensor, found.layout) == (maps, "nchw")
        }
        nodes = [self._pool(body, pool, scale, zero_point) for pool in sorted(pools)]
        real = body.unique_name("real_maps")
        rest = []
        for node in self._parts.tail:
            if node.output[0] in pools:
                continue
            rest.append(NodeProto.FromString(node.SerializeToString()))
            rest[-1].input[:] = [real if name == maps else name for name in node.input]
        if any(real in node.input for node in rest):
            nodes.append([helper.make_node("DequantizeLinear", [maps, *parameters], [real], name=real)])
        return [*(node for part in nodes for node in part), *rest]

    def _pool(self, body: Graph, pool: str, scale: float, zero_point: int) -> list[NodeProto]:
        maps, whole = self._parts.maps, self._parts.whole
        height, width = (whole.shape(maps) or ())[2:]
        if height is None or width is None:
            raise ExportError(f"how many cells {maps!r} has is known only by running; use the file as it is")
        cells = height * width
        axes = body.add_initializer("pool_axes", np.array([2, 3], np.int64))
        offset = body.add_initializer("pool_offset", np.array(-zero_point * cells, np.int32))
        factor = body.add_initializer("pool_scale", np.array(scale / cells, np.float32))
        wide, total, moved, real = (body.unique_name(f"pool_{name}") for name in ("wide", "sum", "moved", "real"))
        return [
            helper.make_node("Cast", [maps], [wide], to=TensorProto.INT32),
            helper.make_node("ReduceSum", [wide, axes], [total], keepdims=int(len(whole.shape(pool) or ()) != 2)),
            helper.make_node("Add", [total, offset], [moved]),
            helper.make_node("Cast", [moved], [real], to=TensorProto.FLOAT),
            helper.make_node("Mul", [real, factor], [pool]),
        ]


def overflows_here() -> bool:
    """Tell whether this is an x86 processor whose sums of 8-bit products overflow 16 bits, as those without VNNI do."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        return "vnni" not in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


class _Reader:
    """Hands ONNX Runtime's calibrators one picture after the other."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = iter(pictures)

    def get_next(self) -> dict[str, Any] | None:
        picture = next(self._pictures, None)
        return None if picture is None else {"image": picture[None]}


def _prepared(parts: Parts) -> ModelProto:
    """Return the body as ONNX Runtime's tools want it: constants folded, shapes known, its maps read by a node."""
    body = copy_model(parts.body)
    body.graph.node.append(helper.make_node("GlobalAveragePool", [parts.maps], [_PROBE], name=_PROBE))
    del body.graph.output[:]
    body.graph.output.append(helper.make_tensor_value_info(_PROBE, TensorProto.FLOAT, ["N", None, 1, 1]))
    with _tools("prepared"), tempfile.TemporaryDirectory(prefix="camrt-") as folder:
        from onnxruntime.quantization.shape_inference import quant_pre_process

        source, target = Path(folder) / "body.onnx", Path(folder) / "prepared.onnx"
        source.write_bytes(body.SerializeToString())
        quant_pre_process(str(source), str(target), skip_symbolic_shape=True)
        prepared = onnx.load(target)
    # Steps that only move numbers about may be gone, and the name of the maps with them.
    probe = next(node for node in prepared.graph.node if node.name == _PROBE)
    Graph(prepared).rename({probe.input[0]: parts.maps})
    for number, node in enumerate(prepared.graph.node):
        node.name = node.name or f"prepared_{number}_{node.op_type}"
    return prepared


def _op_types() -> Sequence[str]:
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    return sorted({*QDQRegistry, *QLinearOpsRegistry})


@contextlib.contextmanager
def _tools(done: str) -> Iterator[None]:
    """Keep ONNX Runtime's tools from talking, and tell their errors as ours."""
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
        # The tools raise whatever their code runs into; a graph that they cannot take is told by all of it.
        raise ExportError(f"ONNX Runtime's tools cannot have the network {done}: {first_line(error)}") from error
    finally:
        logging.disable(disabled)
