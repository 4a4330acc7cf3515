"""Find a normalisation at the start of the graph, and the pixels that it expects.

MATLAB subtracts a mean, Keras has Rescaling and Normalization layers, others begin with a division by 255 or a
BatchNormalization. In front of such a step, ImageNet's mean and std would normalise a second time. The rule is in
`camrt.export.graph.pixel_range`. All channels must agree; otherwise nothing is decided.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

from camrt.export.graph.graph import Graph, attribute
from camrt.export.graph.network_input import NetworkInput
from camrt.export.graph.pixel_range import PixelRange, range_of_data, range_of_ends, range_of_step
from camrt.export.graph.read import FLOATS
from camrt.export.graph.session import open_session, run_session

F64 = NDArray[np.float64]
_UNCHANGED_OPS: Final = {"Identity", "Dropout", "Pad", "Resize", "Upsample", "Slice", "Gather", "Cast"}
"""Operators that keep the values of the pixels, or move them."""
_CHANNEL_OPS: Final = {
    "Split",
    "Slice",
    "Gather",
    "Squeeze",
    "Unsqueeze",
    "Reshape",
    "Identity",
    "Cast",
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Concat",
}
"""Operators that may come between the channels' separation and their Concat."""
_SHAPE_OPS: Final = {"Shape", "Size"}


@dataclass(frozen=True, slots=True)
class OwnNormalisation:
    """The first steps of a graph, and the pixels that they expect."""

    pixels: PixelRange
    steps: str
    """Operators and numbers, for messages."""


@dataclass(slots=True)
class _Chain:
    """value = factor * pixel + addend along the channels, so far."""

    factor: F64
    addend: F64
    channel_axis: int
    operators: list[str]

    def zero_and_unit(self) -> tuple[F64, F64]:
        """Return the input that becomes 0, and the change of the input that becomes 1."""
        return -self.addend / self.factor, 1 / np.abs(self.factor)


def find_own_normalisation(graph: Graph, network_input: NetworkInput) -> OwnNormalisation | None:
    """Return the normalisation at the start of a graph; None: there is none, or its numbers fit no range of pixels.

    Args:
        graph: the classifier, its shapes inferred.
        network_input: its input; one that takes bytes gets pixels from 0 to 255 anyway.
    """
    if network_input.takes_bytes:
        return None
    chain = _Chain(np.ones(1), np.zeros(1), network_input.layout.index("c"), [])
    tensor = network_input.name
    readers: dict[str, list[NodeProto]] = {}
    for reader in graph.proto.node:
        if reader.op_type not in _SHAPE_OPS:
            for name in set(reader.input):
                readers.setdefault(name, []).append(reader)
    while True:
        node = readers[tensor][0] if len(readers.get(tensor, ())) == 1 else None
        if node is None or node.op_type == "Split":
            joined = _join_channels(graph, network_input, tensor, chain)
            if joined is None:
                break
            tensor = joined
            continue
        if node.domain not in ("", "ai.onnx"):
            break
        if node.op_type == "BatchNormalization":
            return _decide_affine(chain) or _decide_statistics(graph, node, chain)
        if node.op_type == "QuantizeLinear" and (decision := _decide_quantizer(graph, node, chain)):
            return decision
        follow = _FOLLOW.get(node.op_type)
        if follow is None or not follow(graph, node, tensor, chain):
            break
        tensor = node.output[0]
    return _decide_affine(chain)


def _join_channels(graph: Graph, network_input: NetworkInput, tensor: str, chain: _Chain) -> str | None:
    """Follow channels that are normalised one by one and put together again; return the tensor of all channels.

    The function of each channel is measured on images of the constants 0, 1 and 2, and must be affine on them.
    """
    reached = {tensor}
    for node in graph.proto.node:
        if reached.isdisjoint(node.input):
            continue
        if node.op_type not in _CHANNEL_OPS:
            return None
        reached.update(node.output)
        if node.op_type == "Concat":
            break
    else:
        return None
    joined = str(node.output[0])
    prefix = graph.copy()
    prefix.prune([helper.make_empty_tensor_value_info(joined)])
    session = open_session(prefix.model, "the first steps of the classifier")
    dtype = helper.tensor_dtype_to_np_dtype(network_input.elem_type)
    constants = [np.full(network_input.shape, value, dtype) for value in (0, 1, 2)]
    values = [run_session(session, None, image, "the first steps of the classifier")[0] for image in constants]
    if values[0].ndim != 4 or values[0].shape[chain.channel_axis] != network_input.channels:
        return None
    axes = tuple(axis for axis in range(4) if axis != chain.channel_axis)
    if any(np.ptp(value, axis=axes).any() for value in values):
        return None
    zero, one, two = (np.asarray(value.mean(axis=axes), np.float64) for value in values)
    if not np.allclose(two - one, one - zero, rtol=1e-3) or not (one - zero).all():
        return None
    chain.factor, chain.addend = one - zero, zero
    chain.operators.append("channel by channel")
    return joined


def _decide_affine(chain: _Chain) -> OwnNormalisation | None:
    if not chain.operators:
        return None
    zero, unit = chain.zero_and_unit()
    pixels = _agreed(range_of_step(*pair) for pair in zip(*np.broadcast_arrays(zero, unit), strict=True))
    if pixels is None:
        return None
    names = ", ".join(dict.fromkeys(chain.operators))
    return OwnNormalisation(pixels, f"{names}: (x - {_numbers(zero)}) / {_numbers(unit)}")


def _decide_statistics(graph: Graph, node: NodeProto, chain: _Chain) -> OwnNormalisation | None:
    """Decide by the data that a BatchNormalization was trained on."""
    mean, variance = (graph.constant(name) for name in node.input[3:5])
    if mean is None or variance is None or attribute(node, "training_mode", 0):
        return None
    deviation = np.sqrt(np.asarray(variance, np.float64) + attribute(node, "epsilon", 1e-5))
    mean = (np.asarray(mean, np.float64) - chain.addend) / chain.factor
    deviation = deviation / np.abs(chain.factor)
    pixels = _agreed(range_of_data(*pair) for pair in zip(mean, deviation, strict=True))
    if pixels is None:
        return None
    return OwnNormalisation(
        pixels, f"BatchNormalization trained on mean {_numbers(mean)} and standard deviation {_numbers(deviation)}"
    )


def _decide_quantizer(graph: Graph, node: NodeProto, chain: _Chain) -> OwnNormalisation | None:
    """Decide by the range that the input's quantizer was calibrated for."""
    scale = graph.constant(node.input[1])
    zero_point = graph.constant(node.input[2]) if len(node.input) > 2 else np.zeros(1, np.uint8)
    if scale is None or zero_point is None or scale.size != 1 or zero_point.dtype.kind not in "iu":
        return None
    limits = np.iinfo(zero_point.dtype)
    ends = (np.array([limits.min, limits.max], np.float64) - int(zero_point.item())) * float(scale.item())
    low, high = sorted(float(end) for end in ((ends - chain.addend[0]) / chain.factor[0]))
    pixels = range_of_ends(low, high)
    return None if pixels is None else OwnNormalisation(pixels, f"QuantizeLinear for {low:.4g} to {high:.4g}")


def _agreed(ranges: Iterable[PixelRange | None]) -> PixelRange | None:
    found = set(ranges)
    return found.pop() if len(found) == 1 else None


def _unchanged(graph: Graph, node: NodeProto, tensor: str, chain: _Chain) -> bool:
    if node.op_type == "Cast":
        return attribute(node, "to") in FLOATS
    return bool(node.input[0] == tensor)


def _transpose(graph: Graph, node: NodeProto, tensor: str, chain: _Chain) -> bool:
    permutation = attribute(node, "perm")
    if permutation is None or len(permutation) != 4:
        return False
    chain.channel_axis = list(permutation).index(chain.channel_axis)
    return True


def _add_or_subtract(graph: Graph, node: NodeProto, tensor: str, chain: _Chain) -> bool:
    constant = _per_channel(graph, node, tensor, chain)
    if constant is None:
        return False
    if node.op_type == "Sub" and node.input[1] == tensor:  # constant - x
        chain.factor, chain.addend = -chain.factor, constant - chain.addend
    else:
        chain.addend = chain.addend + (constant if node.op_type == "Add" else -constant)
    chain.operators.append(node.op_type)
    return True


def _multiply_or_divide(graph: Graph, node: NodeProto, tensor: str, chain: _Chain) -> bool:
    constant = _per_channel(graph, node, tensor, chain)
    if constant is None or not constant.all() or (node.op_type == "Div" and node.input[1] == tensor):
        return False
    factor = 1 / constant if node.op_type == "Div" else constant
    chain.factor, chain.addend = chain.factor * factor, chain.addend * factor
    chain.operators.append(node.op_type)
    return True


def _convolution(graph: Graph, node: NodeProto, tensor: str, chain: _Chain) -> bool:
    """Follow a 1x1 convolution that scales each channel by itself."""
    kernel = graph.constant(node.input[1])
    bias = graph.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(1)
    if (
        kernel is None
        or bias is None
        or kernel.shape[1:] != (1, 1, 1)
        or kernel.shape[0] != attribute(node, "group", 1)
    ):
        return False
    factor = np.asarray(kernel, np.float64).reshape(-1)
    if kernel.shape[0] not in (1, 3) or not factor.all() or any(attribute(node, "pads", [0])):
        return False
    chain.factor, chain.addend = chain.factor * factor, chain.addend * factor + np.asarray(bias, np.float64).reshape(-1)
    chain.operators.append(node.op_type)
    return True


def _per_channel(graph: Graph, node: NodeProto, tensor: str, chain: _Chain) -> F64 | None:
    """Return the constant operand of a node, one number a channel or one for all; a mean image becomes its mean."""
    others = [name for name in node.input if name != tensor]
    value = graph.constant(others[0]) if len(others) == 1 else None
    if value is None or value.dtype.kind not in "fiu" or value.ndim > 4:
        return None
    aligned = np.asarray(value, np.float64).reshape((1,) * (4 - value.ndim) + value.shape)
    axes = tuple(axis for axis in range(4) if axis != chain.channel_axis)
    result: F64 = np.atleast_1d(aligned.mean(axis=axes))
    if node.op_type in ("Mul", "Div") and np.ptp(aligned, axis=axes).any():
        return None
    return result if result.size in (1, 3) else None


def _numbers(values: F64) -> str:
    texts = list(dict.fromkeys(f"{value + 0.0:.4g}" for value in np.atleast_1d(values)))
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


_FOLLOW: Final[dict[str, Callable[[Graph, NodeProto, str, _Chain], bool]]] = {
    **dict.fromkeys(_UNCHANGED_OPS, _unchanged),
    "QuantizeLinear": _unchanged,
    "DequantizeLinear": _unchanged,
    "Transpose": _transpose,
    "Add": _add_or_subtract,
    "Sub": _add_or_subtract,
    "Mul": _multiply_or_divide,
    "Div": _multiply_or_divide,
    "Conv": _convolution,
}
