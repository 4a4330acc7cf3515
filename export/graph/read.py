"""Read an ONNX file, and check early that it can become a model file."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError, Message
from onnx import ModelProto, NodeProto, TensorProto, checker, external_data_helper, inliner, numpy_helper

from camrt.errors import ExportError, MissingInput
from camrt.export.error_text import first_line
from camrt.export.graph.graph import opset_of, subgraphs
from camrt.export.graph.repair import repair
from camrt.export.graph.session import open_session
from camrt.file_kind import PROTOBUF_LIMIT, STANDARD_DOMAINS, describe_custom_operators, describe_foreign_file
from camrt.onnx_functions import Operator, check_functions

OLDEST_OPSET = 7
"""ONNX Runtime guarantees nothing for older opsets."""
FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE}


@dataclass(frozen=True, slots=True)
class Classifier:
    """A classifier that was read or exported, checked, without functions."""

    model: ModelProto
    remarks: tuple[str, ...]
    """A sentence for each repair and each change."""
    own_size: tuple[int, int] | None = None
    """(width, height) in pixels that the input had before its size was changed; None: it was not."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """Errors measured when the graph was changed, for the metadata."""


def read_classifier(path: Path) -> Classifier:
    """Read a classifier, and its external data if that is in the file's own folder.

    Raises:
        ExportError: the file is no ONNX model, damaged, too large, too old, holds NaN or infinite weights or operators
            that ONNX Runtime does not have, or is a camrt model file already.
        UsageError: there is no such file.
    """
    return check_classifier(read_onnx(path), str(path))


def read_onnx(path: Path) -> ModelProto:
    """Read an ONNX file with any graph, and its external data.

    Raises:
        ExportError: the file is no ONNX model, damaged, too large, or its external data cannot be read.
        UsageError: there is no such file.
    """
    if path.is_dir():
        raise ExportError(f"{path} is a folder; name the .onnx file in it")
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise ExportError(f"{path} is a pipe or a device; name the .onnx file")
        if kind := describe_foreign_file(path):
            raise ExportError(f"{path} ({size} bytes) is not an ONNX model: {kind}")
        if size > PROTOBUF_LIMIT:
            raise ExportError(_too_large(path, size))
        model = onnx.load_model_from_string(path.read_bytes())
    except FileNotFoundError as error:
        raise MissingInput(f"{path} cannot be read: {error.strerror}") from error
    except OSError as error:
        raise ExportError(f"{path} cannot be read: {error.strerror}") from error
    except DecodeError as error:
        raise ExportError(
            f"{path} ({size} bytes) is not an ONNX model, or it is truncated or encrypted; copy or export it again"
        ) from error
    if not model.graph.node or not model.graph.output:
        raise ExportError(f"{path} ({size} bytes) holds no ONNX graph; copy or export it again")
    _load_external_data(model, path)
    return model


def check_classifier(model: ModelProto, name: str) -> Classifier:
    """Check a model that was read or exported, repair it, and inline its functions.

    Args:
        model: the model; it may be changed.
        name: the model's name in error messages.

    Raises:
        ExportError: see `read_classifier`.
    """
    if any(entry.key.startswith("camrt.") for entry in model.metadata_props):
        raise ExportError(f"{name} is a camrt model file already; use it, or attach the classifier it was made from")
    opset = opset_of(model)
    if opset < OLDEST_OPSET:
        raise ExportError(
            f"{name} uses opset {opset}; camrt needs opset {OLDEST_OPSET} or newer: convert it with "
            "onnx.version_converter.convert_version"
        )
    functions = {(function.domain, function.name): _operators(function.node) for function in model.functions}
    check_functions(name, _operators(model.graph.node), functions, ExportError)
    if unknown := custom_operators(model):
        raise ExportError(f"{name} {describe_custom_operators(unknown)}")
    remarks = repair(model)
    try:
        checker.check_model(model)
    except (checker.ValidationError, ValueError) as error:
        try:
            open_session(model, name)
        except ExportError as refusal:
            raise ExportError(f"{name} is not a valid ONNX model: {first_line(error)}. {refusal}") from error
        remarks = (*remarks, f"ONNX's checker objects to the file, ONNX Runtime runs it: {first_line(error)}")
    _refuse_broken_weights(model, name)
    return Classifier(inliner.inline_local_functions(model) if model.functions else model, remarks)


def _operators(nodes: Iterable[NodeProto]) -> list[Operator]:
    """Return the operators of nodes and of those in their subgraphs."""
    found = []
    for node in nodes:
        found.append((node.domain, node.op_type))
        for graph in subgraphs(node):
            found += _operators(graph.node)
    return found


def custom_operators(model: ModelProto) -> list[tuple[str, str]]:
    """Return (domain, operator) of the nodes that neither ONNX Runtime nor a function of the model computes."""
    own = {(function.domain, function.name) for function in model.functions}
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    used = {(node.domain, node.op_type) for node in nodes if node.domain not in STANDARD_DOMAINS}
    return sorted(used - own)


def _load_external_data(model: ModelProto, path: Path) -> None:
    folder = path.parent.resolve()
    total = path.stat().st_size
    for tensor in _external_tensors(model):
        info = external_data_helper.ExternalDataInfo(tensor)
        location = (folder / info.location).resolve()
        if not location.is_relative_to(folder):
            raise ExportError(
                f"{path}: the weights of {tensor.name!r} are in {info.location!r}, outside the model's folder; "
                "put that file beside the model and save the model again"
            )
        if not location.is_file():
            raise ExportError(
                f"{path}: {info.location!r} holds its weights, but is not beside it; copy that file there too"
            )
        total += info.length or location.stat().st_size
    if total > PROTOBUF_LIMIT:
        raise ExportError(_too_large(path, total))
    try:
        external_data_helper.load_external_data_for_model(model, str(folder))
    except (checker.ValidationError, ValueError, OSError) as error:
        raise ExportError(f"{path}: its external data cannot be read: {first_line(error)}") from error
    if left := next(_external_tensors(model), None):  # in a sparse tensor, say: onnx loads none of those
        raise ExportError(f"{path}: the weights of {left.name!r} are in another file; save the model as one file")


def _external_tensors(message: Message) -> Iterator[TensorProto]:
    """Yield each tensor of a message, at any depth, whose values are in another file."""
    if isinstance(message, TensorProto):
        if external_data_helper.uses_external_data(message):
            yield message
        return
    for descriptor, value in message.ListFields():
        if descriptor.message_type is not None:
            for inner in value if isinstance(value, Sequence) else (value,):
                yield from _external_tensors(inner)


def _refuse_broken_weights(model: ModelProto, name: str) -> None:
    constants = [(attribute.t, node.output[0]) for node in model.graph.node if node.op_type == "Constant"
                 for attribute in node.attribute if attribute.name == "value"]  # fmt: skip
    for tensor, label in [*((tensor, tensor.name) for tensor in model.graph.initializer), *constants]:
        if tensor.data_type not in FLOATS:
            continue
        values = numpy_helper.to_array(tensor)
        # A single infinite number may be a bound (of a Clip, say); in a weight tensor it is damage.
        broken = np.isnan(values) if values.size == 1 else ~np.isfinite(values)
        if broken.any():
            raise ExportError(
                f"{name}: weights {label!r} hold {int(broken.sum())} NaN or infinite numbers of {values.size}: "
                "the training diverged or the file is damaged; use another checkpoint, or copy the file again"
            )


def _too_large(path: Path, size: int) -> str:
    return (
        f"{path} has {size / 2**30:.1f} GiB with its weights; a model file holds at most 2 GiB (protobuf's limit): "
        "export a smaller network or half-precision weights"
    )
