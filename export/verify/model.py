"""Prove a model file before it is written: valid, equal to its source, and its maps add up to its logits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from camrt.errors import ExportError
from camrt.export.graph import session as ort
from camrt.export.graph.graph import Graph
from camrt.export.graph.network_input import NetworkInput
from camrt.export.graph.preprocessing import Preprocessing
from camrt.export.graph.synthetic_images import Pictures
from camrt.export.head.class_maps import one_cell_each
from camrt.export.head.find import Head
from camrt.export.head.nonlinear import Tail
from camrt.model_file import (
    CAM_BIAS,
    CAM_WEIGHTS,
    CLASS_MAPS,
    EXACT,
    FEATURES,
    LOGITS,
    OUTPUTS,
    SCORES,
    Activation,
)

F32 = NDArray[np.float32]
Forward = Callable[[F32], tuple[list[F32], list[F32]]]
"""The network in torch: its input (1, 3, H, W) -> its outputs, and what went into each global average pool."""
TOLERANCE = 1e-4
"""Of the scores, absolute; of logits, features and the identity, relative to the largest."""
HALF_TOLERANCE = 5e-3
"""The same for networks that compute with 16-bit floats (spacing 1e-3)."""


TORCH_TOLERANCE = 1e-3
"""Of torch's logits and features, relative to the largest: sums in another order, all the way through the network. In
an Inception V3 with random weights torch's float32 is 1e-4 away from its own float64."""
ASKED = 2
"""Pictures of which the class maps are compared with what the classifier's own head says of every cell."""
ASKED_BYTES = 2**26
"""Of maps that it is asked about at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What came out."""

    record: Mapping[str, Any]
    """For the metadata: errors, tolerances, pictures."""
    shapes: Mapping[str, tuple[int, ...]]
    """Shape of each output for one picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model and all that is known of it."""

    model: ModelProto
    source: ModelProto
    """The classifier before the surgery."""
    source_output: str
    """Name of its output that the scores come from."""
    head: Head
    network_input: NetworkInput
    preprocessing: Preprocessing
    activation: Activation
    halves: tuple[ModelProto, ModelProto] | None = None
    """Of a nonlinear head: the backbone and the head, each as a model (`camrt.export.head.class_maps.halves`)."""


def verify(subject: Subject, pictures: Pictures, kind: str, forward: Forward | None = None) -> Verification:
    """Run the new model and its source on the same pictures.

    The identity is that of Zhou et al. 2016, section 2: the mean of a class's map plus its bias is its logit.

    Args:
        subject: what to verify.
        pictures: uint8 (N, H, W, 3), BGR, at the network's size.
        kind: what the pictures are, for the record.
        forward: the torch module, where the model was exported from one.

    Raises:
        ExportError: the model is not valid, cannot run, or an error exceeds its tolerance.
        MissingExtra: ONNX Runtime is not installed.
    """
    check_valid(subject.model)
    names = list(OUTPUTS[subject.head.kind])
    session = ort.open_session(subject.model, "the new graph")
    singles = [_run(session, names, picture[None]) for picture in pictures]
    results = {name: np.concatenate([single[name] for single in singles]) for name in names}
    half = subject.network_input.elem_type == TensorProto.FLOAT16
    checks = Checks(HALF_TOLERANCE if half else TOLERANCE)
    check_finite(results)
    _compare_batch(checks, subject, session, pictures, results)
    network_inputs = _network_inputs(checks, subject, pictures)
    _compare_source(checks, subject, network_inputs, results)
    if subject.head.kind in EXACT:
        _compare_identity(checks, subject.head, results, singles[0])
    if subject.head.tail is not None and subject.halves is not None:
        _compare_cells(checks, subject.head.tail, subject.halves, network_inputs[:ASKED], results)
    if forward is not None:
        _compare_torch(checks, subject, forward, pictures, results)
    record = {**checks.record, "pictures": f"{len(pictures)} {kind}", "onnxruntime": ort.version()}
    return Verification(record=record, shapes={name: singles[0][name].shape for name in names})


def check_valid(model: ModelProto) -> None:
    """Raise ExportError unless a model is valid ONNX."""
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise ExportError(f"the new graph is not valid ONNX: {error}") from error


def check_finite(results: Mapping[str, NDArray[Any]]) -> None:
    """Raise ExportError unless every output is a number throughout."""
    for name, values in results.items():
        if not np.isfinite(values).all():
            raise ExportError(f"verification failed: output {name} holds NaN or infinite numbers; nothing was written")


class Checks:
    """Collects errors, and stops at the first that exceeds its tolerance."""

    def __init__(self, tolerance: float) -> None:
        self.tolerance = tolerance
        self.record: dict[str, Any] = {}

    def add(self, name: str, what: str, error: float, tolerance: float | None = None) -> None:
        """Record an error. Raises: ExportError: it exceeds the tolerance."""
        limit = self.tolerance if tolerance is None else tolerance
        if not error <= limit:
            raise ExportError(f"verification failed: {what} ({error:.3g}, at most {limit:.3g}); nothing was written")
        self.record[name] = error

    def add_identity(
        self, what: str, rebuilt: NDArray[np.float64], logits: NDArray[np.float64], tolerance: float
    ) -> None:
        """Record by how much logits, (N, K), differ from what the maps add up to, relative to each picture's largest.

        Raises:
            ExportError: it exceeds the tolerance.
        """
        absolute = np.abs(rebuilt - logits).max(axis=1)  # (pictures,)
        largest = np.abs(logits).max(axis=1)
        self.add("identity_error", what, float(np.max(absolute / np.where(largest > 0, largest, 1))), tolerance)
        self.record |= {"identity_error_absolute": float(absolute.max()), "identity_tolerance": tolerance}

    def add_batch(self, together: NDArray[Any], singly: NDArray[Any], tolerance: float | None = None) -> None:
        """Record by how much pictures change each other's logits. Raises: ExportError."""
        what = "two pictures at once give other logits than one by one: the batch is mixed"
        self.add("batch_error", what, relative_error(together, singly), tolerance)


def _run(session: Any, names: list[str], pictures: Pictures) -> dict[str, F32]:
    return dict(zip(names, ort.run(session, names, pictures, "the new graph"), strict=True))


def _compare_batch(
    checks: Checks, subject: Subject, session: Any, pictures: Pictures, results: Mapping[str, F32]
) -> None:
    pair = _run(session, [LOGITS], pictures[[0, -1]])
    # A dynamic quantizer goes by the range of all that it is given at once: there two pictures do change each other.
    dynamic = any(node.op_type == "DynamicQuantizeLinear" for node in subject.model.graph.node)
    checks.add_batch(pair[LOGITS], results[LOGITS][[0, -1]], np.inf if dynamic else None)


def _network_inputs(checks: Checks, subject: Subject, pictures: Pictures) -> NDArray[Any]:
    """Return what the new graph makes of the pictures before the network, once it is what was asked for.

    The source is compared on exactly these numbers: a quantizer may stand on the edge between two of its steps for a
    pixel, where the last bit of a sum decides.
    """
    front = Graph(subject.model).copy()
    front.prune([helper.make_empty_tensor_value_info(subject.network_input.name)])
    session = ort.open_session(front.model, "the preprocessing")
    found = np.concatenate([ort.run(session, None, picture[None], "the preprocessing")[0] for picture in pictures])
    error = relative_error(found, subject.preprocessing.apply(pictures))
    checks.add("input_error", "the network's input is not (pixel * scale - mean) / std", error)
    return found


def _compare_source(checks: Checks, subject: Subject, network_inputs: NDArray[Any], results: Mapping[str, F32]) -> None:
    session = ort.open_session(subject.source, "the classifier")
    expected = []
    for network_input in network_inputs:
        batch = np.repeat(network_input[None], subject.network_input.batch or 1, axis=0)
        output = ort.run(session, [subject.source_output], batch, "the classifier")[0]
        expected.append(output[0].reshape(-1).astype(np.float64))
    scores = np.stack(expected)
    if subject.head.log:
        scores = np.exp(scores)
    elif subject.head.activation is None:
        if not subject.head.quantizes_output:
            error = relative_error(results[LOGITS], scores)
            checks.add("logits_error", "the logits differ from the source's", error)
        scores = activate(scores, subject.activation)
    scale = np.abs(scores).max() if subject.activation == "none" else 1.0
    error = float(np.abs(results[SCORES] - scores).max() / (scale or 1.0))
    checks.add("scores_error", "the scores differ from the source's", error)


def _compare_identity(checks: Checks, head: Head, results: Mapping[str, F32], first: Mapping[str, F32]) -> None:
    logits = results[LOGITS].astype(np.float64)
    slack = 0.0
    if head.affine is None:
        rebuilt = results[CLASS_MAPS].mean(axis=(2, 3), dtype=np.float64)
    else:
        pooled = results[FEATURES].mean(axis=(2, 3), dtype=np.float64)
        slack = head.affine.identity_slack(pooled)
        pooled = head.affine.clip_pooled(pooled)
        rebuilt = pooled @ first[CAM_WEIGHTS].T.astype(np.float64) + first[CAM_BIAS]
    what = "the class activation maps do not add up to the logits, so the head is not what it looks like"
    if not slack:
        checks.add_identity(what, rebuilt, logits, checks.tolerance)
        return
    checks.add("identity_error_absolute", what, float(np.abs(rebuilt - logits).max()), slack)
    checks.record["identity_tolerance_absolute"] = slack
    checks.add_identity(what, rebuilt, logits, slack / float(np.abs(logits).max(axis=1).min()))


def _compare_cells(
    checks: Checks,
    tail: Tail,
    halves: tuple[ModelProto, ModelProto],
    network_inputs: NDArray[Any],
    results: Mapping[str, F32],
) -> None:
    """Ask the classifier's own tail about maps of the full size, one cell at a time."""
    front, back = (ort.open_session(model, "the classifier") for model in halves)
    expected = []
    for network_input in network_inputs:
        asked = one_cell_each(tail, ort.run(front, None, network_input[None], "the classifier")[0][0])
        parts = np.array_split(asked, -(-asked.nbytes // ASKED_BYTES))
        rows = [ort.run(back, None, np.ascontiguousarray(part), "the classifier's head")[0] for part in parts]
        logits = np.concatenate(rows).reshape(tail.height, tail.width, tail.classes)
        expected.append(logits.transpose(2, 0, 1).astype(np.float64))
    error = relative_error(results[CLASS_MAPS][: len(network_inputs)], np.stack(expected))
    checks.add("cells_error", "the class maps are not what the head says of each cell", error)


def _compare_torch(
    checks: Checks, subject: Subject, forward: Forward, pictures: Pictures, results: Mapping[str, F32]
) -> None:
    index = [output.name for output in subject.source.graph.output].index(subject.source_output)
    maps_name = CLASS_MAPS if subject.head.affine is None else FEATURES
    outputs, maps = [], []
    for picture in pictures:
        all_outputs, pooled = forward(subject.preprocessing.apply(picture[None]))
        outputs.append(all_outputs[index].reshape(-1))
        # Networks pool inside their blocks too (squeeze and excitation); the head's pool is the last.
        if subject.head.kind in EXACT:
            maps.extend([entry for entry in pooled if entry.shape[1:] == results[maps_name].shape[1:]][-1:])
    expected = np.stack(outputs).astype(np.float64)
    name = LOGITS if subject.head.activation is None else SCORES
    error = relative_error(results[name], np.exp(expected) if subject.head.log else expected)
    tolerance = max(checks.tolerance, TORCH_TOLERANCE)
    checks.add("torch_error", f"the {name} differ from torch's", error, tolerance)
    if len(maps) == len(pictures):
        error = relative_error(results[maps_name], np.concatenate(maps))
        checks.add("features_error", "the features differ from those that torch pools", error, tolerance)


def relative_error(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """Return the largest difference, relative to the largest expected number."""
    scale = float(np.abs(expected).max())
    return float(np.abs(found.astype(np.float64) - expected).max()) / (scale or 1.0)


def activate(logits: NDArray[np.float64], activation: Activation) -> NDArray[np.float64]:
    """Return the scores of logits (N, K)."""
    if activation == "sigmoid":
        return np.asarray(0.5 * (1 + np.tanh(logits / 2)))
    if activation == "softmax":
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))
    return logits
