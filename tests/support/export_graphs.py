"""Tiny classifiers, node by node, for the tests of export."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, helper, numpy_helper

SIZE = 8
"""Width and height of the classifiers' input in pixels."""
CHANNELS, CLASSES = 5, 4
PLAIN = {"scale": 1.0, "mean": (0, 0, 0), "std": (1, 1, 1), "channels": "bgr"}
"""Preprocessing that leaves the pixels as they are."""


class Net:
    """A graph that grows by one node at a time, all weights drawn from one seed."""

    def __init__(
        self, opset: int = 17, *, batch: str | int = "N", ir_version: int | None = None, dtype: Any = np.float32
    ):
        self.opset, self.batch, self.dtype = opset, batch, dtype
        self.ir_version = ir_version or (10 if opset > 18 else 8)
        self.random = np.random.default_rng(opset)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.input = "data"
        self.input_shape: list[int | str] | None = None
        """None: [batch, 3, size, size]."""
        self.input_kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

    def const(self, values: Any, name: str | None = None) -> str:
        name = name or f"const{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def weights(self, *shape: int) -> str:
        return self.const(self.random.normal(0, 0.5, shape).astype(self.dtype))

    def op(self, op_type: str, *inputs: str, to: str | None = None, **attributes: Any) -> str:
        output = to or f"{op_type.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [output], name=f"the_{output}", **attributes))
        return output

    def cast(self, tensor: str, dtype: Any = np.float32) -> str:
        output = f"cast{len(self.nodes)}"
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self.nodes.append(helper.make_node("Cast", [tensor], [output], name=f"the_{output}", to=kind))
        return output

    def features(self, channels: int = CHANNELS, source: str | None = None, colours: int = 3) -> str:
        """Two convolutions: [N, channels, 4, 4], never negative."""
        small = self.op("Mul", source or self.input, self.const(np.array(1 / 255, self.dtype)))
        first = self.op("Relu", self.op("Conv", small, self.weights(6, colours, 3, 3), pads=[1] * 4, strides=[2, 2]))
        return self.op("Relu", self.op("Conv", first, self.weights(channels, 6, 3, 3), pads=[1] * 4))

    def mean(self, maps: str, axes: list[int], keepdims: int = 1, *, as_input: bool | None = None) -> str:
        if self.opset >= 18 if as_input is None else as_input:
            return self.op("ReduceMean", maps, self.const(np.array(axes, np.int64)), keepdims=keepdims)
        return self.op("ReduceMean", maps, axes=axes, keepdims=keepdims)

    def squeeze(self, tensor: str, axes: list[int], op_type: str = "Squeeze") -> str:
        if self.opset >= 13:
            return self.op(op_type, tensor, self.const(np.array(axes, np.int64)))
        return self.op(op_type, tensor, axes=axes)

    def pooled(self, channels: int = CHANNELS) -> str:
        return self.op("Flatten", self.op("GlobalAveragePool", self.features(channels)))

    def gemm(self, pooled: str, channels: int = CHANNELS, classes: int = CLASSES, to: str | None = None) -> str:
        return self.op("Gemm", pooled, self.weights(classes, channels), self.weights(classes), transB=1, to=to)

    def model(self, *outputs: str, size: int | str = SIZE, **shapes: list[Any]) -> ModelProto:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))
        input_shape = self.input_shape or [self.batch, 3, size, size]
        values = [helper.make_tensor_value_info(self.input, self.input_kind, input_shape)]
        if self.ir_version < 4:  # then initializers are inputs too
            values += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in self.initializers]
        results = [helper.make_tensor_value_info(o, kind, shapes.get(o, [self.batch, CLASSES])) for o in outputs]
        graph = helper.make_graph(self.nodes, "tiny", values, results, self.initializers)
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, producer_name="tests", opset_imports=opsets, ir_version=self.ir_version)

    def save(self, path: Path, *outputs: str, **kwargs: Any) -> Path:
        onnx.save(self.model(*outputs, **kwargs), path)
        return path


def newest_opset() -> int:
    """Return the newest opset that both onnx and ONNX Runtime know here."""
    for opset in range(onnx.defs.onnx_opset_version(), 17, -1):
        net = Net(opset)
        model = net.model(net.op("Relu", net.input))
        try:
            session(model)
        except Exception:  # noqa: BLE001 - ONNX Runtime has many classes for "too new"
            continue
        return opset
    raise AssertionError("no opset works")


def session(model: ModelProto | Path) -> onnxruntime.InferenceSession:
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def run(path: Path, images: np.ndarray) -> dict[str, np.ndarray]:
    opened = session(path)
    names = [output.name for output in opened.get_outputs()]
    return dict(zip(names, opened.run(names, {"image": images}), strict=True))


def random_images(count: int, width: int = SIZE, height: int = SIZE) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def softmax(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def assert_identity(results: dict[str, np.ndarray], tolerance: float = 1e-5) -> None:
    """mean over (y, x) of CAM_k + bias_k = logit_k, written out as in the paper."""
    if "class_maps" in results:
        rebuilt = results["class_maps"].mean(axis=(2, 3))
    else:
        cams = np.einsum("nchw,kc->nkhw", results["features"].astype(np.float64), results["cam_weights"])
        rebuilt = cams.mean(axis=(2, 3)) + results["cam_bias"]
    scale = np.abs(results["logits"]).max()
    assert scale > 1e-3
    np.testing.assert_allclose(rebuilt, results["logits"], rtol=0, atol=tolerance * scale)


def expected_output(source: Path, images: np.ndarray, index: int = 0) -> np.ndarray:
    """Return the output of the classifier itself for images, without preprocessing."""
    opened = session(source)
    data = images.transpose(0, 3, 1, 2).astype(np.float32)
    name = opened.get_inputs()[0].name
    batch = opened.get_inputs()[0].shape[0]
    count = batch if isinstance(batch, int) else 1
    rows = [opened.run(None, {name: np.repeat(one[None], count, 0)})[index][0] for one in data]
    return np.stack(rows).reshape(len(images), -1)
