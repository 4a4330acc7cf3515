"""Give a network whose input has a fixed size another one."""

from dataclasses import replace
from typing import Final

from camrt.errors import ExportError, ModelFileError, UsageError
from camrt.export.graph.graph import Graph, attribute, copy_model
from camrt.export.graph.network_input import NetworkInput, read_input
from camrt.export.graph.read import Classifier
from camrt.export.resolution.compare import (
    any_size,
    check_outputs,
    largest_error,
    network_inputs,
    run_outputs,
    tolerance_of,
    with_input_shape,
)
from camrt.export.resolution.follow_sizes import follow_sizes
from camrt.export.resolution.tensor_sizes import TensorSizes
from camrt.export.rewrite import load_graph
from camrt.model_file import InputGeometry

_SMALLEST_FIXED_POOL: Final = 3
"""Smaller windows shrink a map."""
_UNITS: Final = (32, 16, 8, 4, 1)
"""Input sizes are likely multiples of these, in pixels."""


def change_size(classifier: Classifier, size: tuple[int, int]) -> Classifier:
    """Return a classifier whose input has another size; the same one, if it has this size or leaves it open.

    The new graph takes any size until its input is fixed again. So it runs at the old size too, and must give there
    what the source gives.

    Args:
        classifier: a checked classifier; it is not changed.
        size: (width, height) in pixels.

    Raises:
        ExportError: a node is tied to the old size, or the new graph differs from the source at the old size.
        UsageError: the size is too large for a model file.
        UsageError, ExportError: the input is not supported; see `camrt.export.graph.network_input.read_input`.
    """
    try:
        InputGeometry(width=size[0], height=size[1])
    except ModelFileError as reason:
        raise UsageError(str(reason)) from reason
    source = classifier.model
    is_fixed = read_input(Graph(copy_model(source)), size).size != size
    if not is_fixed and not any(node.op_type == "AveragePool" for node in source.graph.node):
        return classifier
    graph, old_input = load_graph(source, size)
    if not is_fixed:
        own_size = _size_of_fixed_pool(graph, old_input)
        if own_size is None:
            return classifier
        graph, old_input = load_graph(source, own_size)
    new_input = replace(old_input, width=size[0], height=size[1])
    old, new = TensorSizes(graph, old_input.shape), TensorSizes(graph, new_input.shape)
    old.walk()
    changes = follow_sizes(graph, old, new)
    names = [output.name for output in source.graph.output]
    inputs = network_inputs(old_input)
    expected = run_outputs(source, names, inputs, old_input.batch)
    error = largest_error(run_outputs(any_size(graph.model, old_input), names, inputs, None), expected)
    tolerance = tolerance_of(old_input)
    old_text, new_text = (f"{entry.width}x{entry.height}" for entry in (old_input, new_input))
    if not error <= tolerance:
        raise ExportError(
            f"verification failed: the graph for any input size differs at {old_text} from the source (error "
            f"{error:.3g}, tolerance {tolerance:.3g}); leave --size out"
        )
    model = with_input_shape(graph.model, ["N", *new_input.shape[1:]])
    try:
        check_outputs(model, new_input, [output.shape[1:] for output in expected], names)
    except ExportError as failure:
        raise ExportError(f"the network does not take {new_text} pixels: {failure}") from failure
    was = "The input was fixed to" if is_fixed else "A pool fitted an input of"
    sentence = f"{was} {old_text} pixels and takes {new_text} now; at {old_text} nothing has changed."
    return replace(
        classifier,
        model=model,
        remarks=(*classifier.remarks, sentence, *changes),
        own_size=old_input.size if is_fixed else None,
        record={**classifier.record, "reshaped_from": old_text, "reshape_error": error},
    )


def _size_of_fixed_pool(graph: Graph, network_input: NetworkInput) -> tuple[int, int] | None:
    """Return the size at which an AveragePool covers its map, in a graph that takes any size; None: there is none.

    Some exporters leave the input's size open and write a window of 7x7 cells in place of a global pool.
    """
    sizes = TensorSizes(graph, network_input.shape)
    sizes.walk()
    for node in graph.proto.node:
        shape = sizes.shape(node.input[0]) if node.op_type == "AveragePool" else None
        window = tuple(attribute(node, "kernel_shape", ()))
        if shape is None or len(window) != 2 or any(attribute(node, "pads", [0])) or window == shape[2:]:
            continue
        if max(window) < _SMALLEST_FIXED_POOL or attribute(node, "strides", [1, 1]) not in ([1, 1], list(window)):
            continue
        for unit in _UNITS:
            height, width = (
                round(length * cells / old / unit) * unit
                for length, cells, old in zip(network_input.size[::-1], window, shape[2:], strict=True)
            )
            if min(height, width) < 1:
                continue
            candidate = TensorSizes(graph, replace(network_input, width=width, height=height).shape)
            candidate.walk()
            if (candidate.shape(node.input[0]) or ())[2:] == window:
                return width, height
    return None
