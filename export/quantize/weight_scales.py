"""Which 8-bit weights stand best for the float ones, and what their rounding does to the mean of each channel."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, helper, numpy_helper

from camrt.export.graph.graph import Graph, attribute, copy_model
from camrt.export.graph.session import open_session, run_session
from camrt.export.graph.synthetic_images import Pictures

F64 = NDArray[np.float64]
Scales = Mapping[str, F64]
"""The step of each output channel, by the name of a convolution's weights."""

_FEWEST, _MOST = 0.5, 1.18
"""How many of the levels the largest weight may take up. Above one it is cut off, for the good of the others."""


def least_squares_scales(weights: NDArray[Any], levels: int) -> F64:
    """Return the step of each channel that rounds its weights with the least squared error.

    Steps are tried at which the largest weight falls on a level exactly. So weights that lie on a grid, those of a
    network that was trained for few bits, get that very grid, and lose nothing.

    Args:
        weights: (K, ...), one row an output channel.
        levels: the largest level, 127 for 8 bits with a sign.

    Returns: float64 (K,), above zero.
    """
    rows = weights.reshape(len(weights), -1).astype(np.float64)
    largest: F64 = np.abs(rows).max(axis=1, initial=0.0)
    largest[largest == 0.0] = 1.0
    best: F64 = np.full(len(rows), np.inf)
    scales: F64 = largest / levels
    for level in range(round(levels * _FEWEST), round(levels * _MOST) + 1):
        step = largest / level
        error = ((rounded(rows, step, levels) - rows) ** 2).sum(axis=1)
        better = error < best
        best[better], scales[better] = error[better], step[better]
    return scales


def rounded(weights: NDArray[Any], scales: F64, levels: int) -> F64:
    """Return weights (K, ...) as 8 bits hold them: multiples of their channel's step, cut at ``levels`` of them."""
    steps = scales.reshape(-1, *[1] * (weights.ndim - 1))
    return np.asarray(np.clip(np.rint(weights / steps), -levels, levels) * steps, np.float64)


def convolution_scales(body: ModelProto, levels: int) -> dict[str, F64]:
    """Return `least_squares_scales` of every convolution whose weights are an initializer."""
    graph = Graph(body)
    names = {node.input[1] for node in body.graph.node if node.op_type == "Conv"}
    return {
        name: least_squares_scales(numpy_helper.to_array(graph.initializers[name]), levels)
        for name in sorted(names & set(graph.initializers))
    }


def channel_means(body: ModelProto, pictures: Pictures) -> dict[str, F64]:
    """Return the mean of each channel of what goes into every convolution, over pictures (N, H, W, 3)."""
    model = copy_model(body)
    names = sorted({node.input[0] for node in model.graph.node if node.op_type == "Conv"})
    del model.graph.output[:]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    session = open_session(model, "the network")
    sums = [
        [tensor.mean(axis=(0, 2, 3), dtype=np.float64) for tensor in run_session(session, names, picture[None], "it")]
        for picture in pictures
    ]
    return {name: np.mean(means, axis=0) for name, means in zip(names, zip(*sums, strict=True), strict=True)}


def correct_biases(body: ModelProto, scales: Scales, means: Mapping[str, F64], levels: int, skip: set[str]) -> None:
    """Let each convolution's bias take back what the rounding of its weights adds to its channels on average.

    Source: Nagel et al. 2019, arXiv:1906.04721, section 4.2, with means that were measured.

    Args:
        body: changed in place.
        scales: of the weights.
        means: of what goes into the convolutions, see `channel_means`.
        levels: the largest level of a weight.
        skip: names of the nodes that keep their float weights.
    """
    graph = Graph(body)
    for node in list(body.graph.node):
        if node.op_type != "Conv" or node.input[1] not in scales or node.name in skip:
            continue
        weights = numpy_helper.to_array(graph.initializers[node.input[1]]).astype(np.float64)
        error = (rounded(weights, scales[node.input[1]], levels) - weights).sum(axis=(2, 3))  # (K, C / groups)
        groups = attribute(node, "group", 1)
        inputs = means[node.input[0]].reshape(groups, -1)
        moved = np.einsum("gkc,gc->gk", error.reshape(groups, -1, error.shape[1]), inputs).ravel()
        bias = graph.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else 0.0
        if bias is None:
            continue  # computed by the graph: rare, and no harm
        name = graph.add_initializer("bias", np.asarray(bias - moved, np.float32))
        del node.input[2:]
        node.input.append(name)
