"""Give a classifier with one output number a class for each side of its decision.

A network trained with binary cross entropy gives one logit z, or its sigmoid. Softmax of one number is 1 for every
image. Here the classifier gets the logits -z and z instead: their sigmoids are 1 - p and p, and the maps of the
negative class are those of the positive one, negated.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from camrt.errors import ExportError
from camrt.export.graph.data_movement import skip_data_movement
from camrt.export.graph.graph import Graph, copy_model

SIDES: Final = np.array([[-1.0, 1.0]])
DEFAULT_LABELS: Final = ("negative", "positive")


def split_one_logit(model: ModelProto, output: str | None) -> tuple[ModelProto, frozenset[str]]:
    """Return a copy of a classifier whose outputs of one number an image have two classes, and these outputs' names.

    Outputs [N, 1] and [N, 1, 1, 1] are split. Outputs [N] are split if they are named or the only ones.

    Args:
        model: the classifier; it is not changed.
        output: the output that the user named.

    Raises:
        ExportError: the number is a softmax, which is 1 for every image.
    """
    shapes = _output_shapes(model)
    names = [name for name, shape in shapes.items() if output in (None, name) and _is_one_number(shape)]
    flat = [name for name in names if len(shapes[name] or ()) < 2]
    if output is None and len(flat) < len(shapes):
        names = [name for name in names if name not in flat]
    if not names:
        return model, frozenset()
    graph = Graph(copy_model(model))
    for name in names:
        _split(graph, name)
    return graph.model, frozenset(names)


def two_sides(values: NDArray[Any], *, are_probabilities: bool) -> NDArray[Any]:
    """Return [N, 2] of one number an image: (-z, z) of logits, (1 - p, p) of probabilities."""
    column = values.reshape(-1, 1)
    return np.concatenate([1 - column if are_probabilities else -column, column], axis=1)


def name_sides(labels: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of both sides: two labels as they are, ``not X`` and ``X`` of one label."""
    if not labels:
        return DEFAULT_LABELS
    return (f"not {labels[0]}", labels[0]) if len(labels) == 1 else tuple(labels)


def _split(graph: Graph, name: str) -> None:
    """Replace an output of one number by one of two."""
    node = graph.producer(skip_data_movement(graph, name))
    if node is not None and node.op_type in ("Softmax", "LogSoftmax"):
        raise ExportError(
            f"output {name!r} is the softmax of one number, which is 1 for every image; export the network without it"
        )
    value = next(value for value in graph.proto.output if value.name == name)
    elem_type = value.type.tensor_type.elem_type or TensorProto.FLOAT
    number = graph.unique_name("number")
    graph.rename({name: number})
    tensor = number
    is_sigmoid = node is not None and node.op_type == "Sigmoid"
    if is_sigmoid:
        assert node is not None
        tensor = node.input[0]
    column = graph.add_reshape(tensor, [-1, 1])
    sides = graph.add_initializer("sides", SIDES.astype(helper.tensor_dtype_to_np_dtype(elem_type)))
    if is_sigmoid:
        graph.add_node("Sigmoid", [graph.add_node("MatMul", [column, sides])], name)
    else:
        graph.add_node("MatMul", [column, sides], name)
    value.CopyFrom(helper.make_tensor_value_info(name, elem_type, ["N", 2]))
    graph.reindex()


def _is_one_number(shape: tuple[int | None, ...] | None) -> bool:
    return shape is not None and len(shape) <= 4 and all(length == 1 for length in shape[1:])


def _output_shapes(model: ModelProto) -> dict[str, tuple[int | None, ...] | None]:
    """Return the outputs' shapes: those that the file declares, else the inferred ones."""
    graph = Graph(copy_model(model))
    graph.infer_shapes()
    return {value.name: graph.shape(value.name) for value in model.graph.output}
