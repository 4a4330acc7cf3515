"""Model files made to do harm: each is refused in one line, before it takes memory or time."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import camrt
from camrt.errors import CamrtError, ModelFileError, TimeLimitExceeded
from camrt.runtime.inference import create_session
from support.tiny_models import write_class_maps, write_linear

INPUT = {"width": 32, "height": 32, "resize": "stretch", "shorter_side": None, "interpolation": "antialias"}
DEEP = "[" * 100_000 + "]" * 100_000

METADATA = [
    ("input", json.dumps(INPUT | {"width": 10**9}), "width of the input is 1000000000"),
    ("input", json.dumps(INPUT | {"width": 8192, "height": 8193}), "8192x8193: more than"),
    ("input", json.dumps(INPUT | {"width": 32.0}), "width of the input is 32.0"),
    ("input", json.dumps(INPUT | {"width": True}), "width of the input is True"),
    ("input", json.dumps(INPUT | {"height": -1}), "height of the input is -1"),
    ("input", json.dumps(INPUT | {"width": "32"}), "width of the input is '32'"),
    ("input", json.dumps(INPUT | {"resize": ["crop"]}), "resize is "),
    ("input", json.dumps(INPUT | {"resize": "crop", "shorter_side": 1e9}), "shorter side is 1000000000.0"),
    ("input", json.dumps(INPUT | {"mean": 3}), "cannot be read"),
    ("input", "[]", "cannot be read"),
    ("input", "7", "cannot be read"),
    ("input", DEEP, "is not JSON"),
    ("labels", '{"0": "a"}', "no list of texts"),
    ("labels", '"abcd"', "no list of texts"),
    ("labels", "[1, 2, 3, 4]", "no list of texts"),
    ("labels", '["a", "b"]', "4 classes but 2 labels"),
    ("labels", DEEP, "is not JSON"),
    ("head", '["linear"]', "camrt.head is "),
    ("head", "3", "camrt.head is 3"),
    ("head", '"masked"', "says head 'masked' but its outputs are"),
    ("activation", "{}", "camrt.activation is {}"),
    ("map_margin", "4", "leaves nothing"),
    ("map_margin", "1000000000", "map_margin is 1000000000"),
    ("map_margin", "-1", "map_margin is -1"),
    ("map_margin", "0.5", "map_margin is 0.5"),
    ("map_margin", "true", "map_margin is True"),
    ("source", "[1]", "camrt.source is"),
    ("verification", '"x"', "camrt.verification is"),
    ("quantization", "[]", "camrt.quantization is"),
    ("preprocessing", "1e400", "camrt.preprocessing is"),
    ("format", "[1]", "has format"),
    ("format", "2", "has format 2"),
    ("heads", "{}", "no list of objects"),
    ("heads", "[1]", "no list of objects"),
    ("heads", '[{"name": "a"}]', "cannot be read"),
    ("heads", DEEP, "is not JSON"),
]


@pytest.mark.parametrize(("key", "text", "message"), METADATA)
def test_metadata_that_are_none_are_refused(tmp_path, key, text, message):
    path = write_linear(tmp_path / "model.onnx")
    model = onnx.load(path)
    entries = {entry.key: entry.value for entry in model.metadata_props} | {f"camrt.{key}": text}
    helper.set_model_props(model, entries)
    onnx.save(model, path)
    with pytest.raises(CamrtError, match=message) as raised:
        camrt.load(path, "cpu")
    assert len(str(raised.value)) < 700


def changed(path, name, values):
    """Make an output of a model file a constant."""
    model = onnx.load(path)
    for node in model.graph.node:
        node.output[:] = [f"old_{output}" if output == name else output for output in node.output]
        node.input[:] = [f"old_{tensor}" if tensor == name else tensor for tensor in node.input]
    model.graph.node.append(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(values)))
    kind = helper.np_dtype_to_tensor_dtype(values.dtype)
    outputs = [output for output in model.graph.output if output.name != name]
    del model.graph.output[:]
    model.graph.output.extend([*outputs, helper.make_tensor_value_info(name, kind, values.shape)])
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("scores", np.zeros((1, 4))),
        ("scores", np.zeros((1, 4), np.int64)),
        ("scores", np.zeros((1, 5), np.float32)),
        ("scores", np.array([["a", "b", "c", "d"]], object)),
        ("logits", np.zeros((1, 4), np.float16)),
        ("logits", np.zeros(4, np.float32)),
        ("logits", np.zeros((1, 0), np.float32)),
        ("logits", np.zeros((1, 7), np.float32)),
        ("features", np.zeros((1, 8, 8, 8), np.int32)),
        ("features", np.zeros((1, 9, 8, 8), np.float32)),
        ("features", np.zeros((1, 8, 0, 8), np.float32)),
        ("features", np.zeros((1, 8, 64), np.float32)),
        ("features", np.zeros((2, 8, 8, 8), np.float32)),
        ("cam_weights", np.zeros((4, 3), np.float32)),
        ("cam_weights", np.zeros((8, 4), np.float32)),
        ("cam_weights", np.zeros((4, 8))),
        ("cam_weights", np.float32(1)),
        ("cam_bias", np.zeros(3, np.float32)),
        ("cam_bias", np.zeros((1, 4), np.float32)),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.dtype} {value.shape}",
)
def test_outputs_of_another_type_or_shape_are_refused(tmp_path, name, values):
    path = changed(write_linear(tmp_path / "model.onnx"), name, np.asarray(values))
    with pytest.raises(ModelFileError, match=r"model\.onnx.*(its output '|classes but 4 labels)"):
        camrt.load(path, "cpu")


def test_class_maps_of_other_classes_are_refused(tmp_path):
    path = changed(write_class_maps(tmp_path / "model.onnx"), "class_maps", np.zeros((1, 3, 10, 10), np.float32))
    with pytest.raises(ModelFileError, match=r"its output 'class_maps' is float32 \[1, 3, 10, 10\], not"):
        camrt.load(path, "cpu")


def with_functions(path, levels, *, calls_itself=False):
    """Add a function that stands for 2**levels nodes."""
    model = onnx.load(path)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    for level in range(levels):
        inner = ("Identity", "") if level == 0 else (f"f{level - 1}", "own")
        if calls_itself and level == 0:
            inner = (f"f{levels - 1}", "own")
        nodes = [helper.make_node(inner[0], [a], [b], domain=inner[1]) for a, b in (("x", "t"), ("t", "y"))]
        model.functions.append(helper.make_function("own", f"f{level}", ["x"], ["y"], nodes, imports))
    for node in model.graph.node:
        node.input[:] = ["again" if tensor == "convolved" else tensor for tensor in node.input]
    model.graph.node.insert(4, helper.make_node(f"f{levels - 1}", ["convolved"], ["again"], domain="own"))
    model.opset_import.append(helper.make_opsetid("own", 1))
    onnx.save(model, path)
    return path


def test_functions_in_functions_are_counted_before_they_are_written_out(tmp_path):
    frame = np.zeros((9, 9, 3), np.uint8)
    path = write_linear(tmp_path / "model.onnx")
    expected = camrt.load(path, "cpu")(frame).scores
    assert camrt.load(with_functions(path, 6), "cpu")(frame).scores.tolist() == expected.tolist()
    for levels in (16, 40, 99):
        path = with_functions(write_linear(tmp_path / "model.onnx"), levels)
        with pytest.raises(ModelFileError, match="calls functions in functions"):
            camrt.load(path, "cpu")
    for options in ({"levels": 120}, {"levels": 3, "calls_itself": True}):
        path = with_functions(write_linear(tmp_path / "model.onnx"), **options)
        with pytest.raises(ModelFileError, match="more than 100 deep, or one calls itself"):
            camrt.load(path, "cpu")


def test_a_loop_without_an_end_is_cancelled(tmp_path, monkeypatch):
    monkeypatch.setattr(create_session, "LIMIT_S", 1.0)
    path = write_linear(tmp_path / "model.onnx")
    model = onnx.load(path)
    scalar = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("v", "w")]
    flags = [helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("go", "on")]
    count = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    nodes = [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["v", "v"], ["w"])]
    body = helper.make_graph(nodes, "body", [count, flags[0], scalar[0]], [flags[1], scalar[1]])
    for name, value in (("trips", np.int64(2**62)), ("yes", np.array(True))):
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    for node in model.graph.node:
        node.input[:] = ["again" if tensor == "convolved" else tensor for tensor in node.input]
    model.graph.node.insert(4, helper.make_node("Loop", ["trips", "yes", "convolved"], ["again"], body=body))
    onnx.save(model, path)
    with pytest.raises(TimeLimitExceeded, match=r"model\.onnx cannot be run: it takes more than 1 s"):
        camrt.load(path, "cpu")


def test_memory_that_nobody_has_is_not_taken(tmp_path):
    path = write_linear(tmp_path / "model.onnx")
    model = onnx.load(path)
    model.graph.initializer.append(numpy_helper.from_array(np.array([10**12], np.int64), "sides"))
    model.graph.node.append(helper.make_node("ConstantOfShape", ["sides"], ["zeros"]))
    model.graph.node.append(helper.make_node("ReduceMax", ["zeros"], ["most"], keepdims=0))
    for node in model.graph.node:
        node.output[:] = ["raw" if tensor == "features" else tensor for tensor in node.output]
    model.graph.node.append(helper.make_node("Add", ["raw", "most"], ["features"]))
    onnx.save(model, path)
    with pytest.raises(ModelFileError, match=r"model\.onnx"):
        camrt.load(path, "cpu")
