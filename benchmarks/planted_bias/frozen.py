"""Linear heads on the frozen features of a network that was trained on ImageNet."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

import camrt
from camrt.benchmarks.compare.quantization import remove_quantization
from camrt.benchmarks.planted_bias.images import Split
from camrt.export import attach

SIZE: Final = 224
"""Pixels of each side of the network's input."""
_STEPS: Final = 600
_NETWORK: Final = "models/mobilenetv2_torchvision_qdq_int8.onnx"
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class FrozenBackbone:
    """MobileNetV2 in float32, with linear heads of its own classes."""

    def __init__(self, data: Path, folder: Path) -> None:
        """Prepare the backbone.

        Args:
            data: folder with the network, see `_NETWORK`.
            folder: where its model file is written.
        """
        self._float = remove_quantization(onnx.load(data / _NETWORK))
        target = folder / "backbone.onnx"
        weight, bias = self._head()
        self._write(weight, bias, [str(number) for number in range(len(bias))], target)
        self._model = camrt.load(target, provider="cpu", threads=1)

    def train(self, split: Split, labels: Sequence[str], target: Path, *, seed: int) -> None:
        """Train a linear head with cross entropy and AdamW, and write the model file."""
        results = (self._model(image) for image in split.images)
        pooled = np.stack([result.decoder.decoded(result.maps).mean(axis=(1, 2)) for result in results])
        torch.manual_seed(seed)
        values = torch.from_numpy(pooled)
        mean, spread = values.mean(dim=0), values.std(dim=0) + 1e-3
        inputs, classes = (values - mean) / spread, torch.tensor(split.classes)
        layer = torch.nn.Linear(inputs.shape[1], len(labels))
        optimizer = torch.optim.AdamW(layer.parameters(), lr=3e-3, weight_decay=1e-2)
        for _ in range(_STEPS):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(layer(inputs), classes, label_smoothing=0.05)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        with torch.no_grad():
            weight = layer.weight / spread
            bias = layer.bias - weight @ mean
        self._write(weight.numpy(), bias.numpy(), labels, target)

    def _head(self) -> tuple[NDArray[Any], NDArray[Any]]:
        node = next(node for node in reversed(self._float.graph.node) if node.op_type == "Gemm")
        values = {one.name: one for one in self._float.graph.initializer}
        weight, bias = (numpy_helper.to_array(values[name]) for name in node.input[1:])
        return weight, bias

    def _write(self, weight: NDArray[Any], bias: NDArray[Any], labels: Sequence[str], target: Path) -> None:
        model = onnx.ModelProto()
        model.CopyFrom(self._float)
        node = next(node for node in reversed(model.graph.node) if node.op_type == "Gemm")
        for name, value in zip(node.input[1:], (weight, bias), strict=True):
            old = next(one for one in model.graph.initializer if one.name == name)
            old.CopyFrom(numpy_helper.from_array(value.astype(np.float32), name))
        model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = len(labels)
        del model.graph.value_info[:]
        source = target.with_suffix(".classifier.onnx")
        onnx.save(model, source)
        attach(
            source,
            target,
            labels=list(labels),
            scale=1 / 255,
            mean=_MEAN,
            std=_STD,
            channels="rgb",
            size=(SIZE, SIZE),
            interpolation="area",
            overwrite=True,
        )
        source.unlink()
