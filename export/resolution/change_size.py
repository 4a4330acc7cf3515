"""Give a network whose input has a fixed size another one."""

from dataclasses import replace

from camrt.errors import ExportError
from camrt.export.graph.graph import Graph, copy_model
from camrt.export.graph.network_input import read_input
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
from camrt.export.resolution.follow_sizes import SizeFollower
from camrt.export.resolution.tensor_sizes import TensorSizes
from camrt.export.rewrite import load_graph


def change_size(classifier: Classifier, size: tuple[int, int]) -> Classifier:
    """Return a classifier whose input has another size; the same one, if it has this size or leaves it open.

    The new graph takes any size until its input is fixed again. So it runs at the old size too, and must give there
    what the source gives.

    Args:
        classifier: a checked classifier; it is not changed.
        size: (width, height) in pixels.

    Raises:
        ExportError: a node is tied to the old size, or the new graph differs from the source at the old size.
        UsageError, ExportError: the input is not supported; see `camrt.export.graph.network_input.read_input`.
    """
    source = classifier.model
    if read_input(Graph(copy_model(source)), size).size == size:
        return classifier
    graph, old_input = load_graph(source, size)
    new_input = replace(old_input, width=size[0], height=size[1])
    old, new = TensorSizes(graph, old_input.shape), TensorSizes(graph, new_input.shape)
    old.walk()
    follower = SizeFollower(graph, old, new)
    follower.run()
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
    check_outputs(model, new_input, [output.shape[1:] for output in expected], names)
    sentence = f"The input was fixed to {old_text} pixels and takes {new_text} now; at {old_text} nothing has changed."
    return replace(
        classifier,
        model=model,
        remarks=(*classifier.remarks, sentence, *dict.fromkeys(follower.changes)),
        own_size=old_input.size,
        record={**classifier.record, "reshaped_from": old_text, "reshape_error": error},
    )
