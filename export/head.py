"""Find the classifier's head: walk back from the output to the maps that are pooled.

Two heads can be explained exactly (Zhou et al. 2016, arXiv:1512.04150, section 2):

    linear      scores <- (activation) <- linear layer <- global average pool <- features
    class_maps  scores <- (activation) <- global average pool <- (Relu) <- 1x1 convolution, one map a class

Whatever only moves numbers about (Flatten, Reshape, Dropout, Cast, a quantizer and its inverse ...) may stand between
them. The walk trusts that they do: the identity, computed before a file is written, is the proof.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from camrt.errors import HeadNotFound, UsageError
from camrt.export.graph import Graph, attribute
from camrt.export.linear_layer import LinearLayer, find_linear_layer
from camrt.export.pooling import find_pooled
from camrt.export.refusals import describe, refuse_class_maps, refuse_linear, refuse_pool
from camrt.export.steps import Quantizer, walk_back
from camrt.model_file import Activation
from camrt.model_file import Head as HeadKind

ACTIVATIONS: dict[str, Activation] = {"Softmax": "softmax", "LogSoftmax": "softmax", "Sigmoid": "sigmoid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What the walk found; tensors are called by their names in the graph."""

    kind: HeadKind
    output: str
    """The graph's output, [N, K] or [N, K, 1, 1]."""
    activation: Activation | None
    """What the graph itself turns logits into scores with; None: it ends in logits."""
    log: bool
    """The output is the logarithm of the scores (LogSoftmax)."""
    logits: str
    """What the linear layer (or, without one, the pool) gives; [N, K] or [N, K, 1, 1]."""
    pooled: str
    """[N, C, h, w], what the pool averages."""
    classes: int | None
    """K; None where the graph does not say before it runs."""
    layer: LinearLayer | None = None
    """The linear layer of a "linear" head."""
    map_margin: int = 0
    quantizers: Sequence[Quantizer] = ()
    """Those between the pool and the linear layer: they make the identity inexact."""
    quantizes_output: bool = False
    """The graph rounds the logits once more before it ends; `logits` are those before."""

    def identity_slack(self) -> float:
        """Return by how much rounding in the quantizers can move a logit, at most.

        Each quantizer rounds to a multiple of its step, so it moves each pooled number by half a step at most, and
        logit k by at most that times sum over c of |W[k, c]|. One that repeats another's grid moves nothing more.
        """
        if not self.quantizers or self.layer is None:
            return 0.0
        reach = float(np.abs(self.layer.weights).sum(axis=1, dtype=np.float64).max())
        return reach * sum(step / 2 for step in {quantizer.step for quantizer in self.quantizers})

    def clip_pooled(self, pooled: NDArray[np.float64]) -> NDArray[np.float64]:
        """Cut pooled values at the ends of the quantizers' ranges, as the graph does."""
        for quantizer in self.quantizers:
            pooled = np.clip(pooled, quantizer.low, quantizer.high)
        return pooled


def find_head(graph: Graph, wanted: str | None = None) -> Head:
    """Find the head of the output called ``wanted``, or of the only output that has one.

    Raises:
        HeadNotFound: no output has a head that can be explained; the message names the node and what can be done.
        UsageError: ``wanted`` is not an output, or is needed to choose between several.
    """
    outputs = {graph.shown(value.name): value.name for value in graph.proto.output}
    choices = ", ".join(outputs)
    if wanted is not None:
        if wanted not in outputs:
            raise UsageError(f"the graph has no output {wanted!r}; its outputs are: {choices}")
        return _head_of(graph, outputs[wanted])
    heads, refusals = [], []
    for name in outputs.values():
        try:
            heads.append(_head_of(graph, name))
        except HeadNotFound as refusal:
            refusals.append(refusal)
    if not heads:
        if len(refusals) == 1:
            raise refusals[0]
        reasons = "".join(f"\n  {refusal}" for refusal in refusals)
        raise HeadNotFound(
            f"none of the {len(refusals)} outputs has a head that a class activation map explains:{reasons}"
        )
    if len({head.logits for head in heads}) == 1:  # logits and scores of one head: the scores say more
        return next((head for head in heads if head.activation), heads[0])
    found = ", ".join(graph.shown(head.output) for head in heads)
    raise UsageError(f"several outputs have a head: choose one with --output (output=...): {found}")


def _head_of(graph: Graph, output: str) -> Head:
    shape = graph.shape(output)
    if shape is not None and not (len(shape) == 2 or (len(shape) == 4 and shape[2:] == (1, 1))):
        size = ", ".join("N" if index == 0 else str(dim or "?") for index, dim in enumerate(shape))
        raise HeadNotFound(
            f"output {graph.shown(output)!r} has shape [{size}], a classifier gives [N, K]: detectors, segmentation "
            "networks and sequence models have no class activation map; if the network classifies too, choose that "
            "output with --output"
        )
    last: list[Quantizer] = []
    tensor, activation, log = _skip_activation(graph, output, last)
    layer = find_linear_layer(graph, tensor)
    if layer is None:
        head = _class_maps(graph, output, tensor, activation, log)
        return replace(head, quantizes_output=bool(last))
    quantizers: list[Quantizer] = []
    before = walk_back(graph, layer.data, quantizers)
    pooled = find_pooled(graph, before)
    if pooled is None:
        raise refuse_linear(graph, output, layer.node, before)
    return Head(
        kind="linear",
        output=output,
        activation=activation,
        log=log,
        logits=layer.output,
        pooled=pooled,
        classes=len(layer.weights),
        layer=layer,
        quantizers=quantizers,
        quantizes_output=bool(last),
    )


def _skip_activation(graph: Graph, output: str, quantizers: list[Quantizer]) -> tuple[str, Activation | None, bool]:
    tensor = walk_back(graph, output, quantizers)
    node = graph.producer(tensor)
    if node is None or node.op_type not in ACTIVATIONS:
        return tensor, None, False
    if node.op_type != "Sigmoid":
        axis = attribute(node, "axis", -1 if graph.opset >= 13 else 1)
        shape = graph.shape(tensor)
        if axis not in (1, 1 - (2 if shape is None else len(shape))):
            raise HeadNotFound(
                f"output {graph.shown(output)!r}: {describe(node)} works along axis {axis}, classes are axis 1"
            )
    return walk_back(graph, node.input[0], quantizers), ACTIVATIONS[node.op_type], node.op_type == "LogSoftmax"


def _class_maps(graph: Graph, output: str, tensor: str, activation: Activation | None, log: bool) -> Head:
    pooled = find_pooled(graph, tensor)
    if pooled is None:
        raise refuse_pool(graph, output, tensor)
    convolution = _skip_relu(graph, pooled)
    kernel = None if convolution is None else _kernel(graph, convolution)
    if convolution is None or kernel != (1, 1):
        raise refuse_class_maps(graph, output, pooled)
    shape = graph.shape(pooled)
    return Head(
        kind="class_maps",
        output=output,
        activation=activation,
        log=log,
        logits=tensor,
        pooled=pooled,
        classes=None if shape is None else shape[1],
        map_margin=_margin(graph, output, convolution),
    )


def _skip_relu(graph: Graph, tensor: str) -> NodeProto | None:
    node = graph.producer(walk_back(graph, tensor))
    while node is not None and node.op_type == "Relu":
        node = graph.producer(walk_back(graph, node.input[0]))
    return node


def _kernel(graph: Graph, node: NodeProto) -> tuple[int, ...] | None:
    weights = graph.constant(node.input[1]) if node.op_type == "Conv" else None
    return None if weights is None else weights.shape[2:]


def _margin(graph: Graph, output: str, convolution: NodeProto) -> int:
    """Return how many cells on each side of the map a padded 1x1 convolution made out of nothing."""
    pads = set(attribute(convolution, "pads", [0, 0, 0, 0]))
    strides = set(attribute(convolution, "strides", [1, 1]))
    if pads == {0} or attribute(convolution, "auto_pad", b"NOTSET") != b"NOTSET":
        return 0  # a 1x1 kernel needs no padding to keep the size, so SAME and VALID add none
    if len(pads) > 1 or strides != {1}:
        raise HeadNotFound(
            f"output {graph.shown(output)!r}: {describe(convolution)} pads its map by {sorted(pads)} with strides "
            f"{sorted(strides)}, so the map cannot be laid over the picture; pad all sides alike, or not at all"
        )
    return int(pads.pop())
