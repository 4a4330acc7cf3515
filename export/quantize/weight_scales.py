"""Choose the scales of 8-bit weights, and correct the biases for the mean error of their rounding."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, helper, numpy_helper

from camrt.export.graph.graph import Graph, attribute, copy_model
from camrt.export.graph.session import open_session, run_session
from camrt.export.graph.synthetic_images import Images

F64 = NDArray[np.float64]
Scales = Mapping[str, F64]
"""The step of each output channel, by the name of a convolution's weights."""

_MIN_LEVEL, _MAX_LEVEL = 0.5, 1.18
"""Levels that the largest weight may take, as a fraction of all levels. Above 1 it is clipped; the others gain."""


def least_squares_scales(weights: NDArray[Any], levels: int) -> F64:
    """Return the step of each channel that rounds its weights with the least squared error.

    The search tries the steps at which the largest weight falls exactly on a level. Weights that already lie on a grid,
    as after training for few bits, get that very grid and lose nothing.

    Args:
        weights: (K, ...), one row for each output channel.
        levels: the largest level, 127 for 8 bits with a sign.

    Returns: float64 (K,), above zero.
    """
    rows = weights.reshape(len(weights), -1).astype(np.float64)
    largest: F64 = np.abs(rows).max(axis=1, initial=0.0)
    largest[largest == 0.0] = 1.0
    least: F64 = np.full(len(rows), np.inf)
    scales: F64 = largest / levels
    for level in range(round(levels * _MIN_LEVEL), round(levels * _MAX_LEVEL) + 1):
        step = largest / level
        error = ((round_weights(rows, step, levels) - rows) ** 2).sum(axis=1)
        better = error < least
        least[better], scales[better] = error[better], step[better]
    return scales


def round_weights(weights: NDArray[Any], scales: F64, levels: int) -> F64:
    """Return weights (K, ...) as 8 bits hold them: multiples of their channel's step, clipped at ``levels`` steps."""
    steps = scales.reshape(-1, *[1] * (weights.ndim - 1))
    return np.asarray(np.clip(np.rint(weights / steps), -levels, levels) * steps, np.float64)


def convolution_scales(backbone: ModelProto, levels: int) -> dict[str, F64]:
    """Return `least_squares_scales` of every convolution whose weights are an initializer."""
    graph = Graph(backbone)
    names = {node.input[1] for node in backbone.graph.node if node.op_type == "Conv"}
    return {
        name: least_squares_scales(numpy_helper.to_array(graph.initializers[name]), levels)
        for name in sorted(names & set(graph.initializers))
    }


def channel_means(backbone: ModelProto, images: Images) -> dict[str, F64]:
    """Return the mean of each channel of every convolution's input, over images (N, H, W, 3)."""
    model = copy_model(backbone)
    names = sorted({node.input[0] for node in model.graph.node if node.op_type == "Conv"})
    del model.graph.output[:]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    session = open_session(model, "the network")
    means = [
        [
            tensor.mean(axis=(0, 2, 3), dtype=np.float64)
            for tensor in run_session(session, names, image[None], "the network")
        ]
        for image in images
    ]
    return {name: np.mean(values, axis=0) for name, values in zip(names, zip(*means, strict=True), strict=True)}


def correct_biases(backbone: ModelProto, scales: Scales, means: Mapping[str, F64], levels: int, skip: set[str]) -> None:
    """Subtract from each convolution's bias the mean error that the rounding of its weights causes.

    Source: Nagel et al. 2019, arXiv:1906.04721, section 4.2, with measured means.

    Args:
        backbone: changed in place.
        scales: of the weights.
        means: of the convolutions' inputs, from `channel_means`.
        levels: the largest level of a weight.
        skip: names of the nodes that keep their float weights.
    """
    graph = Graph(backbone)
    for node in list(backbone.graph.node):
        if node.op_type != "Conv" or node.input[1] not in scales or node.name in skip:
            continue
        weights = numpy_helper.to_array(graph.initializers[node.input[1]]).astype(np.float64)
        rounded_weights = round_weights(weights, scales[node.input[1]], levels)
        error = (rounded_weights - weights).sum(axis=(2, 3))  # (K, C / groups)
        groups = attribute(node, "group", 1)
        inputs = means[node.input[0]].reshape(groups, -1)
        mean_error = np.einsum("gkc,gc->gk", error.reshape(groups, -1, error.shape[1]), inputs).ravel()
        bias = graph.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else 0.0
        if bias is None:
            continue  # the graph computes this bias at run time; leaving the error in is rare and harmless
        name = graph.add_initializer("corrected_bias", np.asarray(bias - mean_error, np.float32))
        del node.input[2:]
        node.input.append(name)
