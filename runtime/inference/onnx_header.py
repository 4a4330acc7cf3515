"""Parse the parts of an ONNX file that camrt must check before ONNX Runtime opens it, without the onnx package.

An ONNX file is one protobuf message. This module walks its wire format
(https://protobuf.dev/programming-guides/encoding) with the field numbers of onnx.proto3.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias

from camrt.errors import ModelFileError, NoModelFile
from camrt.file_kind import PROTOBUF_LIMIT, STANDARD_DOMAINS, describe_foreign_file
from camrt.onnx_functions import Operator, check_functions

Buffer: TypeAlias = bytes | mmap.mmap

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
GRAPH, OUTPUT, OUTPUT_NAME = 7, 12, 1
_FUNCTION = 25
_DATA_TYPE, _TENSOR_NAME, _EXTERNAL_DATA, _DATA_LOCATION = 2, 8, 13, 14
# For each kind of message: the fields that may contain tensors or nodes, and the kind of message in each field.
_MESSAGE_FIELDS: Final[dict[str, dict[int, str]]] = {
    "model": {GRAPH: "graph", 20: "training", _FUNCTION: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_OPERATOR_FIELDS: Final = {"node": (7, 4), "function": (10, 1)}
"""Fields of the domain and the name of an operator: the one that a node uses, the one that a function defines."""
_MAX_DEPTH: Final = 100
"""Most levels of nested messages; protobuf has the same limit."""


def check_before_opening(path: Path) -> None:
    """Reject a file that ONNX Runtime must not open: not ONNX, too large, or with weights in other files.

    A model file holds its own weights. ONNX Runtime reads external weights from any path in the file, up to 1.23 even
    outside the model's folder. So camrt trusts only the bytes of the file itself.

    Raises:
        ModelFileError: the file must not be opened; the message says why. `NoModelFile` if it may be a classifier.
    """
    size = path.stat().st_size
    if size > PROTOBUF_LIMIT:
        raise ModelFileError(
            f"{path} has {size / 2**30:.1f} GiB; a model file, as any protobuf file, has at most 2. Attach a smaller "
            "network, or one with half-precision weights"
        )
    if (kind := describe_foreign_file(path)) is not None:
        raise ModelFileError(f"{path} ({size} bytes) is not a model: {kind}")
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            tensor = next(_external_tensors(data, 0, size), None)
            if any(number == _FUNCTION for number, *_ in fields(data, 0, size)):
                check_functions(str(path), *_operators(data), ModelFileError)
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ModelFileError(
            f"{path} ({size} bytes) is not a model, or not a complete one: it may be cut short or encrypted "
            f"({error}). Copy it again, or create it again with camrt attach"
        ) from error
    if tensor is not None:
        raise NoModelFile(
            f"{path} keeps the weights {tensor!r} in another file, so it is not opened: a model file of camrt holds "
            f"its own weights. Create one: camrt attach {path} -o {path.stem}.cam.onnx"
        )


def custom_operators(path: Path) -> list[tuple[str, str]]:
    """Return (domain, operator) of the nodes that neither ONNX Runtime nor a function of the model computes.

    Raises:
        OSError, ValueError: the file cannot be read, or is not a protobuf message.
    """
    nodes, functions = _operators(path.read_bytes())
    used = {operator for called in (nodes, *functions.values()) for operator in called}
    return sorted((domain, name) for domain, name in used - set(functions) if domain not in STANDARD_DOMAINS)


def count_contents(path: Path) -> tuple[set[str], dict[int, int]]:
    """Return the names of a model's operators, and the bytes of its tensors by ONNX's number of the data type.

    Raises:
        OSError, ValueError: the file cannot be read, or is not a protobuf message.
    """
    names: set[str] = set()
    sizes: dict[int, int] = {}
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for kind, start, stop in _messages(data, 0, len(data), "model", 0):
            if kind == "node":
                names.add(text(data, start, stop, _OPERATOR_FIELDS["node"][1]))
            elif kind == "tensor":
                types = [begin for number, _, begin, _ in fields(data, start, stop) if number == _DATA_TYPE]
                data_type = _varint(data, types[-1], stop)[0] if types else 0
                sizes[data_type] = sizes.get(data_type, 0) + stop - start
    return names, sizes


def _operators(data: Buffer) -> tuple[list[Operator], dict[Operator, list[Operator]]]:
    """Return the operators of the graph's nodes, and for each function those of its nodes; subgraphs count too."""
    nodes: list[Operator] = []
    functions: dict[Operator, list[Operator]] = {}
    current, current_end = nodes, 0
    for kind, start, stop in _messages(data, 0, len(data), "model", 0):
        if kind in _OPERATOR_FIELDS:
            domain, name = (text(data, start, stop, field) for field in _OPERATOR_FIELDS[kind])
            if kind == "function":
                current, current_end = functions.setdefault((domain, name), []), stop
            else:
                (current if start < current_end else nodes).append((domain, name))
    return nodes, functions


def _external_tensors(data: Buffer, start: int, stop: int) -> Iterator[str]:
    """Yield the names of the tensors of a model that have their values in other files."""
    for kind, first, last in _messages(data, start, stop, "model", 0):
        if kind == "tensor":
            for number, _, begin, end in fields(data, first, last):
                if number == _EXTERNAL_DATA or (number == _DATA_LOCATION and any(data[begin:end])):
                    yield text(data, first, last, _TENSOR_NAME)
                    break


def _messages(data: Buffer, start: int, stop: int, kind: str, depth: int) -> Iterator[tuple[str, int, int]]:
    """Yield a message and all within it that may contain tensors or nodes: the kind, the begin and the end of each."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"messages are nested more than {_MAX_DEPTH} deep")
    yield kind, start, stop
    inner = _MESSAGE_FIELDS.get(kind)
    if inner is None:
        return
    for number, _, begin, end in fields(data, start, stop):
        if number in inner:
            yield from _messages(data, begin, end, inner[number], depth + 1)


def fields(data: Buffer, start: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield for each field of a message: its number, its first byte, and the begin and end of its value."""
    at = start
    while at < stop:
        first = at
        key, at = _varint(data, at, stop)
        kind = key & 7
        begin = at
        if kind == _VARINT:
            _, at = _varint(data, at, stop)
        elif kind == _BYTES:
            length, begin = _varint(data, at, stop)
            at = begin + length
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"no protobuf field at byte {first}")
        # Protobuf takes the lower 32 bits of a longer key, so it would see another field than this function.
        if at > stop or not 1 << 3 <= key < 1 << 32:
            raise ValueError(f"the field at byte {first} is cut short or has no number")
        yield key >> 3, first, begin, at


def _varint(data: Buffer, at: int, stop: int) -> tuple[int, int]:
    value = shift = 0
    while at < stop and shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError(f"a number at byte {at} does not end")


def to_varint(value: int) -> bytes:
    """Return a number as protobuf writes it."""
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(encoded) + bytes([value])


def text(data: Buffer, start: int, stop: int, field: int) -> str:
    """Return the last value of a text field of a message; empty if the message does not have it."""
    text = ""
    for number, _, begin, end in fields(data, start, stop):
        if number == field:
            text = bytes(data[begin:end]).decode("utf-8", "replace")
    return text
