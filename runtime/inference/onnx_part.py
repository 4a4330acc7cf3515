"""Cut the part out of an ONNX file that computes some of its outputs, without the onnx package.

ONNX Runtime computes every node of a graph, also those that no requested output needs.
"""

from typing import Final

from camrt.runtime.inference.onnx_header import GRAPH, OUTPUT, OUTPUT_NAME, Buffer, fields, text, to_varint

_METADATA, _KEY, _VALUE = 14, 1, 2
_NODE, _INITIALIZER = 1, 5
_NODE_INPUT, _NODE_OUTPUT, _ATTRIBUTE = 1, 2, 5
_ATTRIBUTE_GRAPHS: Final = (6, 11)
_TENSOR_NAME = 8


def metadata_of(data: Buffer) -> dict[str, str]:
    """Return the metadata of an ONNX model. Raises: ValueError: the bytes are not a protobuf message."""
    return {
        text(data, start, stop, _KEY): text(data, start, stop, _VALUE)
        for number, _, start, stop in fields(data, 0, len(data))
        if number == _METADATA
    }


def output_names(data: Buffer) -> list[str]:
    """Return the names of an ONNX model's outputs. Raises: ValueError: the bytes are not a protobuf message."""
    return [
        text(data, begin, end, OUTPUT_NAME)
        for number, _, start, stop in fields(data, 0, len(data))
        if number == GRAPH
        for inner, _, begin, end in fields(data, start, stop)
        if inner == OUTPUT
    ]


def part_for_outputs(data: Buffer, keep: set[str]) -> bytes:
    """Return an ONNX model with only the graph outputs in ``keep``, and only the nodes and weights that these need.

    Raises:
        ValueError: the bytes are not a protobuf message.
    """
    view = memoryview(data)
    parts: list[memoryview | bytes] = []
    for number, first, start, stop in fields(data, 0, len(data)):
        if number != GRAPH:
            parts.append(view[first:stop])
            continue
        entries = list(fields(data, start, stop))
        nodes = {begin: _read_node(data, begin, end) for inner, _, begin, end in entries if inner == _NODE}
        needed, used = _needed(nodes, keep)
        kept = [
            view[one:end]
            for inner, one, begin, end in entries
            if (inner != OUTPUT or text(data, begin, end, OUTPUT_NAME) in keep)
            and (inner != _NODE or begin in needed)
            and (inner != _INITIALIZER or text(data, begin, end, _TENSOR_NAME) in used)
        ]
        parts += [bytes([GRAPH << 3 | 2]), to_varint(sum(map(len, kept))), *kept]
    return b"".join(parts)


def _needed(nodes: dict[int, tuple[list[str], list[str]]], outputs: set[str]) -> tuple[set[int], set[str]]:
    """Return the nodes that the outputs need, and the tensors that these nodes read."""
    producers = {name: node for node, (_, names) in nodes.items() for name in names if name}
    needed: set[int] = set()
    used: set[str] = set()
    pending = list(outputs)
    while pending:
        name = pending.pop()
        used.add(name)
        node = producers.get(name)
        if node is not None and node not in needed:
            needed.add(node)
            pending += nodes[node][0]
    return needed, used


def _read_node(data: Buffer, start: int, stop: int) -> tuple[list[str], list[str]]:
    """Return the tensors that a node reads, in its subgraphs too, and those that it computes."""
    inputs: list[str] = []
    outputs: list[str] = []
    for number, _, begin, end in fields(data, start, stop):
        if number in (_NODE_INPUT, _NODE_OUTPUT):
            (inputs if number == _NODE_INPUT else outputs).append(bytes(data[begin:end]).decode("utf-8", "replace"))
        elif number == _ATTRIBUTE:
            for inner, _, first, last in fields(data, begin, end):
                if inner in _ATTRIBUTE_GRAPHS:
                    inputs += _read_subgraph(data, first, last)
    return inputs, outputs


def _read_subgraph(data: Buffer, start: int, stop: int) -> list[str]:
    """Return the tensors that a subgraph reads; those of its own are among them."""
    names: list[str] = []
    for number, _, begin, end in fields(data, start, stop):
        if number == _NODE:
            names += _read_node(data, begin, end)[0]
        elif number == OUTPUT:
            names.append(text(data, begin, end, OUTPUT_NAME))
    return names
