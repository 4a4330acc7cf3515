"""camrt checks a model file before ONNX Runtime opens it: no other file is read, and non-models are named."""

import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import camrt
from camrt.errors import ModelFileError
from camrt.runtime.inference.onnx_header import check_before_opening, custom_operators
from support.tiny_models import write_linear


def external(name, location):
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


def in_an_initializer(model, tensor):
    model.graph.initializer.append(tensor)


def in_a_constant(model, tensor):
    model.graph.node.append(helper.make_node("Constant", [], ["more"], value=tensor))


def in_a_list_of_tensors(model, tensor):
    node = helper.make_node("Constant", [], ["more"])
    node.attribute.append(onnx.AttributeProto(name="values", type=onnx.AttributeProto.TENSORS, tensors=[tensor]))
    model.graph.node.append(node)


def in_a_branch(model, tensor):
    inner = helper.make_graph([helper.make_node("Identity", [tensor.name], ["out"])], "branch", [], [], [tensor])
    model.graph.node.append(helper.make_node("If", ["yes"], ["more"], then_branch=inner, else_branch=inner))


def in_a_branch_of_a_branch(model, tensor):
    outer = onnx.ModelProto()
    in_a_branch(outer, tensor)
    outer.graph.name = "outer"
    model.graph.node.append(helper.make_node("If", ["yes"], ["more"], then_branch=outer.graph))


def in_a_function(model, tensor):
    node = helper.make_node("Constant", [], ["more"], value=tensor)
    function = helper.make_function("mine", "F", [], ["more"], [node], [helper.make_opsetid("", 17)])
    model.functions.append(function)


def in_a_sparse_tensor(model, tensor):
    model.graph.sparse_initializer.add().values.CopyFrom(tensor)


@pytest.mark.parametrize(
    "add_tensor",
    [
        in_an_initializer,
        in_a_constant,
        in_a_list_of_tensors,
        in_a_branch,
        in_a_branch_of_a_branch,
        in_a_function,
        in_a_sparse_tensor,
    ],
)
def test_weights_in_another_file_are_rejected_wherever_the_graph_names_them(add_tensor, tmp_path):
    model = onnx.load(write_linear(tmp_path / "m.onnx"))
    check_before_opening(tmp_path / "m.onnx")
    add_tensor(model, external("secret", "/etc/passwd"))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match=r"keeps the weights 'secret' in another file.*camrt attach"):
        camrt.load(tmp_path / "m.onnx")


@pytest.mark.parametrize("location", ["inside.bin", "../outside.bin", "link.bin", "{folder}/outside.bin", "/dev/zero"])
def test_no_path_in_a_model_file_is_followed(location, tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("outside.bin", "a/inside.bin"):
        np.arange(4, dtype=np.float32).tofile(tmp_path / name)
    (tmp_path / "a" / "link.bin").symlink_to("../outside.bin")
    model = onnx.load(write_linear(tmp_path / "a" / "m.onnx"))
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "bias")
    bias.CopyFrom(external("bias", location.format(folder=tmp_path)))
    (tmp_path / "a" / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match="keeps the weights 'bias' in another file"):
        camrt.load(tmp_path / "a" / "m.onnx")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"hello, this is no model", "it is a text"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><html><body>log in</body></html>", "web page"),
        (b"PK\x03\x04" + bytes(100), "torch checkpoint.*camrt export"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(100), "TensorFlow Lite"),
        (b"Salted__" + bytes(range(256)), "encrypted with OpenSSL"),
        (bytes(range(7, 256)), "cut short or encrypted"),
        (b"\x08\x08" + b"\x3a\x7f", "cut short or encrypted"),
        (b"\x0b" * 50, "cut short or encrypted"),
        (b"\xff" * 50, "cut short or encrypted"),
        # A key of more than 32 bits. Protobuf takes the lower 32 bits, the graph; a reader of all bits misses it.
        (b"\x08\x08" + b"\xba\x80\x80\x80\x10" + b"\x02\x08\x08", "cut short or encrypted"),
    ],
)
def test_error_names_the_kind_of_a_file_that_is_not_a_model(content, message, tmp_path):
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ModelFileError, match=rf"m\.onnx \({len(content)} bytes\) is not a model.*{message}"):
        camrt.load(tmp_path / "m.onnx")


def test_deeply_nested_messages_are_rejected(tmp_path):
    def wrap(field, content):
        length = len(content)
        size = bytes([length]) if length < 128 else bytes([length & 127 | 128, length >> 7])
        return bytes([field << 3 | 2]) + size + content

    graph = b""
    for _ in range(200):
        graph = wrap(1, wrap(5, wrap(6, graph)))  # node, attribute, graph
    (tmp_path / "m.onnx").write_bytes(wrap(7, graph))
    with pytest.raises(ModelFileError, match="nested more than 100 deep"):
        camrt.load(tmp_path / "m.onnx")


def test_file_above_the_limit_of_protobuf_is_rejected_unread(tmp_path):
    with (tmp_path / "m.onnx").open("wb") as file:
        file.truncate(2**31 + 100)  # a sparse file takes no space
    with pytest.raises(ModelFileError, match=r"m\.onnx has 2\.0 GiB; a model file.* has at most 2"):
        camrt.load(tmp_path / "m.onnx")


def test_named_pipe_is_rejected_at_once(tmp_path):
    os.mkfifo(tmp_path / "m.onnx")
    with pytest.raises(ModelFileError, match="no model file at"):
        camrt.load(tmp_path / "m.onnx")


def test_real_models_are_accepted(shared_data):
    paths = sorted((shared_data / "models").glob("*.onnx"))
    assert paths
    for path in paths:
        check_before_opening(path)


@pytest.mark.parametrize("declared", [True, False])
def test_model_with_a_custom_operator_is_refused_with_its_name_and_domain(declared, tmp_path):
    """A function of the model itself is no custom operator."""
    model = onnx.load(write_linear(tmp_path / "model.onnx"))
    for index, name in enumerate(model.graph.node[3].input):
        if name == "pixels":
            model.graph.node[3].input[index] = "quantized"
    model.graph.node.insert(3, helper.make_node("Quant", ["pixels"], ["quantized"], domain="qonnx.custom_op.general"))
    if declared:
        model.opset_import.append(helper.make_opsetid("qonnx.custom_op.general", 1))
    (tmp_path / "custom.onnx").write_bytes(model.SerializeToString())
    assert custom_operators(tmp_path / "custom.onnx") == [("qonnx.custom_op.general", "Quant")]
    with pytest.raises(ModelFileError, match=r"custom\.onnx has operators .*: Quant \(domain 'qonnx.*QDQ form"):
        camrt.load(tmp_path / "custom.onnx", provider="cpu")
    body = [helper.make_node("Identity", ["x"], ["y"])]
    opsets = [helper.make_opsetid("", 17)]
    function = helper.make_function("qonnx.custom_op.general", "Quant", ["x"], ["y"], body, opsets)
    model.functions.append(function)
    (tmp_path / "function.onnx").write_bytes(model.SerializeToString())
    assert custom_operators(tmp_path / "function.onnx") == []
