"""Remove the rounding of a quantized head, so that its identity can be checked exactly."""

from onnx import ModelProto, helper

from camrt.export.graph.graph import Graph, copy_model
from camrt.export.head.split_points import dependents
from camrt.model_file import LOGITS


def without_rounding(model: ModelProto, maps: str) -> ModelProto | None:
    """Return a model file's graph without the QDQ pairs between its maps and its logits, with these two outputs.

    Args:
        model: the model file; it is not changed.
        maps: the output with the maps.

    Returns: None where the head computes in integers, as after dynamic quantization.
    """
    graph = Graph(copy_model(model))
    after_maps = dependents(graph, maps, by_size=False) - {maps}
    for node in graph.proto.node:
        if after_maps.isdisjoint(node.output):
            continue
        if node.op_type == "DynamicQuantizeLinear":
            return None
        if node.op_type == "DequantizeLinear":
            quantize = graph.producer(node.input[0])
            if quantize is None or quantize.op_type != "QuantizeLinear":
                return None
            identity = helper.make_node("Identity", [quantize.input[0]], list(node.output), name=node.name)
            node.CopyFrom(identity)
    graph.prune([output for output in model.graph.output if output.name in (maps, LOGITS)])
    return graph.model
