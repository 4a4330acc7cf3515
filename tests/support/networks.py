"""Networks of other libraries with random weights, without downloads."""

import contextlib
import os
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from camrt.benchmarks.compare.torch_libraries import models, set_batch_statistics
from camrt.export.graph.preprocessing import Preprocessing
from camrt.export.graph.synthetic_images import synthetic_images

CLASSES = 20
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
"""Graphs of well-known networks in the onnx package, without their weights."""

TINY = {"embedding_size": 16, "hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 1, 1]}
TOKENS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
SWIN = {"embed_dim": 24, "depths": [1, 1], "num_heads": [1, 2]}
TRANSFORMERS = {
    "ResNet": {**TINY, "layer_type": "basic"},
    "RegNet": {**TINY, "groups_width": 16},
    "ConvNext": {key: TINY[key] for key in ("hidden_sizes", "depths")},
    "ConvNextV2": {key: TINY[key] for key in ("hidden_sizes", "depths")},
    "PoolFormer": {key: TINY[key] for key in ("hidden_sizes", "depths")},
    "MobileNetV1": {"depth_multiplier": 0.25},
    "MobileNetV2": {"depth_multiplier": 0.35},
    "FocalNet": {"embed_dim": 16, "depths": [1, 1, 1, 1]},
    "Swin": SWIN,
    "ViT": TOKENS,
    "DeiT": TOKENS,
    "Beit": TOKENS,
    "Dinov2": {**TOKENS, "image_size": 224},
}
"""Families of transformers, each in its smallest configuration."""


class Logits(torch.nn.Module):
    """The logits of a network of transformers as a plain tensor."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(images).logits


def torch_network(library: str, name: str, side: int) -> torch.nn.Module:
    """Make a network of torchvision, timm or transformers, with batch statistics from synthetic images."""
    torch.manual_seed(0)
    if library == "torchvision":
        options = {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
        network = getattr(models, name)(weights=None, num_classes=CLASSES, **options)
    elif library == "timm":
        import timm

        network = timm.create_model(name, pretrained=False, num_classes=CLASSES)
    else:
        os.environ["HF_HUB_OFFLINE"] = "1"
        import transformers

        configuration = getattr(transformers, f"{name}Config")(num_labels=CLASSES, **TRANSFORMERS[name])
        network = Logits(getattr(transformers, f"{name}ForImageClassification")(configuration))
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim < 2 or not parameter.any():  # a head with zero weights would pass every comparison
                parameter.add_(0.05 * torch.randn_like(parameter))
    return set_batch_statistics(network, torch.from_numpy(Preprocessing().apply(synthetic_images(side, side))))


def keras_file(name: str, side: int, path: Path) -> None:
    """Write a network of Keras to ONNX with Keras's own exporter (over torch): channels last."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    with contextlib.redirect_stdout(None), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras calls a deprecated exporter of torch and a deprecated function of NumPy
        keras.utils.set_random_seed(0)
        network = getattr(keras.applications, name)(weights=None, classes=CLASSES, input_shape=(side, side, 3))
        network(np.zeros((1, side, side, 3), np.float32))
        dense = network.layers[-1]
        if isinstance(dense, keras.layers.Dense):  # the pooled values are near zero, so the kernel is scaled up
            images = Preprocessing(channels="bgr", layout="nhwc").apply(synthetic_images(side, side))
            pooled = keras.ops.convert_to_numpy(keras.Model(network.input, dense.input)(images))
            kernel = keras.ops.convert_to_numpy(dense.kernel)
            dense.kernel.assign(kernel * float(3 / (pooled @ kernel).std()))
        network.export(path, format="onnx", verbose=False)


def light_file(name: str, path: Path) -> None:
    """Write one of onnx's graphs, with random weights in place of the missing ones."""
    model = onnx.load(LIGHT / f"light_{name}.onnx")
    model.ir_version = 4  # before IR version 4 every weight had to be an input
    random = np.random.default_rng(0)
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        if node.op_type != "ConstantOfShape":
            nodes.append(node)
            continue
        shape = shapes[node.input[0]]
        fan_in = max(1, int(np.prod(shape[1:])))
        values = random.normal(0, (2 / fan_in) ** 0.5, shape) if len(shape) > 1 else random.uniform(0.5, 1.5, shape)
        model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), node.output[0]))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, path)
