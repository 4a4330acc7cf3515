"""Prove a model file before it is written: it is valid, equals its source, and its maps add up to its logits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from camrt.errors import ExportError
from camrt.export.graph.graph import Graph
from camrt.export.graph.network_input import NetworkInput
from camrt.export.graph.preprocessing import Preprocessing
from camrt.export.graph.session import onnxruntime_version, open_session, run_session
from camrt.export.graph.synthetic_images import Images
from camrt.export.head.class_maps import single_cell_maps, split_at_feature_map
from camrt.export.head.find import ClassifierHead
from camrt.export.head.nonlinear import NonlinearHead
from camrt.export.verify.checks import (
    F64,
    HALF_TOLERANCE,
    TOLERANCE,
    Checks,
    check_finite,
    check_valid,
    identity_error,
    rebuild_logits,
    relative_error,
)
from camrt.export.verify.unrounded import without_rounding
from camrt.model_file import CLASS_MAPS, EXACT, LOGITS, OUTPUTS, POOLED, SCORES, Activation, maps_output

F32 = NDArray[np.float32]
Forward = Callable[[F32], tuple[list[F32], list[F32]]]
"""The network in torch: its input (1, 3, H, W) -> its outputs, and the input of each global average pool."""
TORCH_TOLERANCE = 1e-3
"""Largest relative error of torch's logits and features: torch adds in another order, throughout a deep network. For an
Inception V3 with random weights, torch's float32 differs from its own float64 by 1e-4."""
CELL_CHECK_IMAGES = 2
"""Images on which the class maps are compared with the classifier's own head, cell by cell."""
CELL_BATCH_BYTES = 2**26
"""Size of the maps that go through the classifier's own head in one batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The result of a verification."""

    record: Mapping[str, Any]
    """For the metadata: errors, tolerances, images."""
    shapes: Mapping[str, tuple[int, ...]]
    """Shape of each output for one image."""
    answers: tuple[int, ...]
    """The best class of each image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUnderTest:
    """A new model, and the classifier that it was made from."""

    model: ModelProto
    network_input_name: str
    """The tensor of ``model`` between the preprocessing and the network."""
    source: ModelProto
    """The classifier as it was read."""
    graph: Graph
    """The classifier as it was loaded: ``head`` has its names."""
    head: ClassifierHead
    network_input: NetworkInput
    preprocessing: Preprocessing
    activation: Activation


def verify(subject: ModelUnderTest, images: Images, kind: str, forward: Forward | None = None) -> Verification:
    """Run the new model and its source on the same images, and compare.

    Args:
        subject: what to verify.
        images: uint8 (N, H, W, 3), BGR, at the network's size.
        kind: of the images, for the record: ``real`` or ``synthetic``.
        forward: the torch module that the classifier was exported from.

    Raises:
        ExportError: the model is not valid, cannot run, or an error exceeds its tolerance.
        MissingExtra: ONNX Runtime is not installed.
    """
    check_valid(subject.model)
    names = list(OUTPUTS[subject.head.kind])
    session = open_session(subject.model, "the new graph")
    singles = [_run(session, names, image[None]) for image in images]
    outputs = {name: np.concatenate([single[name] for single in singles]) for name in names}
    is_half = subject.network_input.elem_type == TensorProto.FLOAT16
    checks = Checks(HALF_TOLERANCE if is_half else TOLERANCE)
    check_finite(outputs)
    _compare_batch(checks, subject, session, images, outputs)
    network_inputs = _network_inputs(checks, subject, images)
    _compare_source(checks, subject, network_inputs, outputs)
    if subject.head.kind in EXACT:
        _compare_identity(checks, subject, images, outputs, singles[0])
    if subject.head.nonlinear is not None:
        class_maps = outputs[CLASS_MAPS][:CELL_CHECK_IMAGES]
        _compare_cells(checks, subject.graph, subject.head.nonlinear, network_inputs[:CELL_CHECK_IMAGES], class_maps)
    if forward is not None:
        _compare_torch(checks, subject, forward, images, outputs)
    record = {**checks.record, "images": f"{len(images)} {kind}", "onnxruntime": onnxruntime_version()}
    return Verification(
        record=record,
        shapes={name: singles[0][name].shape for name in names},
        answers=tuple(int(answer) for answer in outputs[SCORES].argmax(axis=1)),
    )


def _run(session: Any, names: list[str], images: Images) -> dict[str, F32]:
    try:
        values = run_session(session, names, images, "the new graph")
    except ExportError as error:
        raise ExportError(
            f"{error}. If a batch size is written into the network, export it with an open batch, and let it take "
            "sizes from x.shape, not from len(x) or int(...)"
        ) from error
    return dict(zip(names, values, strict=True))


def _compare_batch(
    checks: Checks, subject: ModelUnderTest, session: Any, images: Images, outputs: Mapping[str, F32]
) -> None:
    pair = _run(session, [LOGITS], images[[0, -1]])
    # A dynamic quantizer takes its range from the whole batch, so there the images of a batch do affect each other.
    is_dynamic = any(node.op_type == "DynamicQuantizeLinear" for node in subject.model.graph.node)
    checks.add_batch(pair[LOGITS], outputs[LOGITS][[0, -1]], np.inf if is_dynamic else None)


def _network_inputs(checks: Checks, subject: ModelUnderTest, images: Images) -> NDArray[Any]:
    """Return what the new graph's preprocessing gives, after comparing it with NumPy's.

    The source then runs on exactly these numbers. With others, a pixel on the edge between two steps of a quantizer
    could go either way.
    """
    preprocessing = Graph(subject.model).copy()
    preprocessing.prune([helper.make_empty_tensor_value_info(subject.network_input_name)])
    session = open_session(preprocessing.model, "the preprocessing")
    network_inputs = np.concatenate(
        [run_session(session, None, image[None], "the preprocessing")[0] for image in images]
    )
    error = relative_error(network_inputs, subject.preprocessing.apply(images))
    checks.add("input_error", "the network's input is not (pixel * scale - mean) / std", error)
    return network_inputs


def _compare_source(
    checks: Checks, subject: ModelUnderTest, network_inputs: NDArray[Any], outputs: Mapping[str, F32]
) -> None:
    session = open_session(subject.source, "the classifier")
    head_output = subject.head.output
    rows = []
    for network_input in network_inputs:
        batch = np.repeat(network_input[None], subject.network_input.batch or 1, axis=0)
        output = run_session(session, [head_output.name], batch, "the classifier")[0]
        rows.append(output[0].reshape(-1).astype(np.float64))
    expected = np.stack(rows)
    if head_output.is_log:
        expected = np.exp(expected)
    elif head_output.activation is None:
        if not head_output.is_quantized:
            error = relative_error(outputs[LOGITS], expected)
            checks.add("logits_error", "the logits differ from the source's", error)
        expected = activate(expected, subject.activation)
    scale = np.abs(expected).max() if subject.activation == "none" else 1.0
    error = float(np.abs(outputs[SCORES] - expected).max() / (scale or 1.0))
    checks.add("scores_error", "the scores differ from the source's", error)


def _compare_identity(
    checks: Checks, subject: ModelUnderTest, images: Images, outputs: Mapping[str, F32], single: Mapping[str, F32]
) -> None:
    """Check the CAM identity; ``single`` has the weights and the bias once."""
    head = subject.head
    logits = outputs[LOGITS].astype(np.float64)
    maps = outputs[maps_output(head.kind)]
    pooled: F64 = maps.mean(axis=(2, 3), dtype=np.float64)
    bound = 0.0
    if head.affine is not None:
        bound = head.affine.rounding_bound(pooled)
        pooled = head.affine.clip_pooled(pooled)
    rebuilt = rebuild_logits(single, pooled)
    failure = "the class activation maps do not add up to the logits, so the head is not what it looks like"
    if not bound:
        checks.add_identity(failure, rebuilt, logits, checks.tolerance)
        return
    checks.add("identity_error_absolute", failure, float(np.abs(rebuilt - logits).max()), bound)
    checks.record["identity_tolerance_absolute"] = bound
    checks.add_identity(failure, rebuilt, logits, bound / float(np.abs(logits).max(axis=1).min()))
    # The bound of the rounding can be a large part of a logit. The same head without its rounding has none.
    unrounded = without_rounding(subject.model, maps_output(head.kind))
    if unrounded is not None:
        session = open_session(unrounded, "the head without its rounding")
        names = [LOGITS, maps_output(head.kind)]
        rows = [run_session(session, names, image[None], "the head without its rounding") for image in images]
        exact, exact_maps = (np.concatenate(column).astype(np.float64) for column in zip(*rows, strict=True))
        rebuilt = rebuild_logits(single, exact_maps.mean(axis=(2, 3)))
        checks.add("identity_error_unrounded", failure, identity_error(rebuilt, exact))


def _compare_cells(
    checks: Checks, graph: Graph, head: NonlinearHead, network_inputs: NDArray[Any], class_maps: F32
) -> None:
    """Compare class maps with the classifier's own head on maps of the full size that show one cell."""
    backbone, own_head = (open_session(model, "the classifier") for model in split_at_feature_map(graph, head))
    expected = []
    for network_input in network_inputs:
        feature_map = run_session(backbone, None, network_input[None], "the classifier")[0][0]
        maps = single_cell_maps(head, feature_map)
        batches = np.array_split(maps, -(-maps.nbytes // CELL_BATCH_BYTES))
        rows = [run_session(own_head, None, np.ascontiguousarray(batch), "the classifier's head")[0]
                for batch in batches]  # fmt: skip
        logits = np.concatenate(rows).reshape(head.height, head.width, head.classes)
        expected.append(logits.transpose(2, 0, 1).astype(np.float64))
    error = relative_error(class_maps, np.stack(expected))
    checks.add("cells_error", "the class maps differ from the classifier's own head on single cells", error)


def _compare_torch(
    checks: Checks, subject: ModelUnderTest, forward: Forward, images: Images, outputs: Mapping[str, F32]
) -> None:
    head_output = subject.head.output
    index = [output.name for output in subject.source.graph.output].index(head_output.name)
    maps_name = maps_output(subject.head.kind)
    rows, pooled = [], []
    for image in images:
        torch_outputs, pool_inputs = forward(subject.preprocessing.apply(image[None]))
        rows.append(torch_outputs[index].reshape(-1))
        # Networks pool inside their blocks, too (squeeze and excitation), and for their other heads.
        if subject.head.kind in POOLED:
            pooled.append([entry for entry in pool_inputs if entry.shape[1:] == outputs[maps_name].shape[1:]])
    expected = np.stack(rows).astype(np.float64)
    name = LOGITS if head_output.activation is None else SCORES
    error = relative_error(outputs[name], np.exp(expected) if head_output.is_log else expected)
    tolerance = max(checks.tolerance, TORCH_TOLERANCE)
    checks.add("torch_error", f"the {name} differ from torch's", error, tolerance)
    if pooled and pooled[0]:
        candidates = [np.concatenate(maps) for maps in zip(*pooled, strict=True)]
        error = min(relative_error(outputs[maps_name], maps) for maps in candidates)
        checks.add("features_error", "the features differ from those that torch pools", error, tolerance)


def activate(logits: F64, activation: Activation) -> F64:
    """Return the scores of logits (N, K)."""
    if activation == "sigmoid":
        return np.asarray(0.5 * (1 + np.tanh(logits / 2)))
    if activation == "softmax":
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))
    return logits
