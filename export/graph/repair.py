"""Repair, in memory, graphs that ONNX Runtime runs although ONNX's checker objects to them."""

from collections.abc import Iterator

import onnx
from onnx import ModelProto, TensorProto, ValueInfoProto

from camrt.export.graph.graph import Graph, node_inputs


def repair(model: ModelProto) -> tuple[str, ...]:
    """Repair a model in place; return a sentence for each repair.

    Raises:
        ExportError: the graph has a cycle.
    """
    return tuple(
        sentence
        for repaired, sentence in (
            (_open_dimensions(model), "Dimensions written as -1 or 0 are taken as open."),
            (_name_graph(model), "The graph had no name; it has one now."),
            (_sort_nodes(model), "The nodes were not in the order of their computation; they are now."),
            (_skip_dictionaries(model), "An output is a list of dictionaries (ZipMap); the scores in it are used."),
            (_complete_outputs(model), "Outputs had no type or shape; both are inferred."),
        )
        if repaired
    )


def _open_dimensions(model: ModelProto) -> bool:
    repaired = False
    for value in _values(model):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.HasField("dim_value") and dimension.dim_value < 1:
                dimension.ClearField("dim_value")
                repaired = True
    return repaired


def _values(model: ModelProto) -> Iterator[ValueInfoProto]:
    graph = model.graph
    for value in [*graph.input, *graph.output, *graph.value_info]:
        if value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape"):
            yield value


def _name_graph(model: ModelProto) -> bool:
    if model.graph.name:
        return False
    model.graph.name = "graph"
    return True


def _sort_nodes(model: ModelProto) -> bool:
    computed = {name for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if not computed.isdisjoint(node_inputs(node)):  # it reads what this node or a later one computes
            Graph(model).sort_topologically()
            return True
        computed.difference_update(node.output)
    return False


def _skip_dictionaries(model: ModelProto) -> bool:
    """Replace outputs that pair each score with its label (scikit-learn, Custom Vision) by the scores."""
    scores = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "ZipMap"}
    outputs = [value for value in model.graph.output if value.name in scores]
    for value in outputs:
        value.name = scores[value.name]
        value.ClearField("type")
    return bool(outputs)


def _complete_outputs(model: ModelProto) -> bool:
    incomplete = [value for value in model.graph.output if not _is_complete(value)]
    if not incomplete:
        return False
    # Inference skips outputs that it knows already, so it gets a graph without them.
    copy = ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    try:
        inferred = {value.name: value for value in onnx.shape_inference.infer_shapes(copy).graph.value_info}
    except onnx.shape_inference.InferenceError:
        inferred = {}
    for value in incomplete:
        if value.name in inferred:
            value.CopyFrom(inferred[value.name])
        elif not value.type.HasField("tensor_type"):
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    return True


def _is_complete(value: ValueInfoProto) -> bool:
    if value.type.WhichOneof("value") not in (None, "tensor_type"):
        return True
    tensor = value.type.tensor_type
    return bool(tensor.elem_type) and tensor.HasField("shape")
