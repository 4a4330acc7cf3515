"""What cannot be explained or read is refused: with the node, what was found, what to do; and nothing is written."""

import os

import numpy as np
import onnx
import pytest
from onnx import external_data_helper, numpy_helper

from camrt.errors import ExportError, HeadNotFound, UsageError
from camrt.export import attach
from support.export_graphs import CHANNELS, CLASSES, PLAIN, Net, assert_identity, random_pictures, run
from support.limits import largest_file


def mean_of_everything(net):
    return net.op(
        "MatMul", net.op("Flatten", net.op("ReduceMean", net.features(), keepdims=1)), net.weights(1, CLASSES)
    )


def _attention(net):
    """[N, C, 4, 4] as 16 tokens [N, 16, C], each a mixture of all."""
    cells = net.op("Reshape", net.features(), net.const(np.array([0, CHANNELS, 16])))
    tokens = net.op("Transpose", cells, perm=[0, 2, 1])
    attention = net.op("Softmax", net.op("MatMul", tokens, net.op("Transpose", tokens, perm=[0, 2, 1])), axis=-1)
    return net.op("MatMul", attention, tokens)


def attention_over_cells(net):
    """The 12 tokens that are left lie in no square, as the picture does."""
    bounds = [net.const(np.array([value], np.int64)) for value in (0, 12, 1)]
    some = net.op("Slice", _attention(net), *bounds)
    return net.gemm(net.op("Gather", some, net.const(np.array(3, np.int64)), axis=1))


def two_tokens(net):
    tokens = _attention(net)
    first, second = (net.op("Gather", tokens, net.const(np.array(index, np.int64)), axis=1) for index in (0, 1))
    return net.gemm(net.op("Mul", first, second))


def embedding(net):
    return net.pooled()


def numbers_only(net):
    return net.op("ArgMax", net.gemm(net.pooled()), axis=1, keepdims=1)


def uneven_padding(net):
    maps = net.op("Conv", net.features(), net.weights(CLASSES, CHANNELS, 1, 1), pads=[0, 0, 1, 1])
    return net.op("Flatten", net.op("GlobalAveragePool", maps))


def softmax_over_the_batch(net):
    return net.op("Softmax", net.gemm(net.pooled()), axis=0)


REFUSED = {
    embedding: r"global average pool of the output of Relu node.*export it with its classifier",
    numbers_only: r"ArgMax node.*scores are gone",
    uneven_padding: r"Conv node.*pads its map",
    softmax_over_the_batch: r"Softmax node.*axis 0",
    mean_of_everything: r"ReduceMean node.*axes \[0, 1, 2, 3\].*mixes the images",
    attention_over_cells: r"Gather node.*attention.*'relu\d+'.*attention",
    two_tokens: r"attention.*'matmul\d+': Gather node.*does not treat every cell alike",
}


@pytest.mark.parametrize("head", REFUSED, ids=lambda head: head.__name__)
def test_a_head_that_weights_do_not_explain_is_refused(head, tmp_path):
    net = Net()
    source = net.save(tmp_path / "in.onnx", head(net))
    with pytest.raises(HeadNotFound, match=REFUSED[head]):
        attach(source, tmp_path / "out.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["in.onnx"]


def test_a_detector_is_refused(tmp_path):
    net = Net()
    boxes = net.op("Reshape", net.features(6), net.const(np.array([0, 16, 6], np.int64)))
    source = net.save(tmp_path / "in.onnx", boxes, **{boxes: ["N", 16, 6]})
    with pytest.raises(HeadNotFound, match=r"shape \[N, 16, 6\].*detectors"):
        attach(source, tmp_path / "out.onnx")


def test_a_segmentation_network_is_refused(tmp_path):
    net = Net()
    masks = net.op("Conv", net.features(), net.weights(CLASSES, CHANNELS, 1, 1))
    source = net.save(tmp_path / "in.onnx", masks, **{masks: ["N", CLASSES, 4, 4]})
    with pytest.raises(HeadNotFound, match=r"shape \[N, 4, 4, 4\].*segmentation"):
        attach(source, tmp_path / "out.onnx")


def test_of_several_outputs_without_a_head_each_is_named(tmp_path):
    net = Net()
    source = net.save(tmp_path / "in.onnx", net.op("Identity", net.pooled(), to="first"), numbers_only(net))
    with pytest.raises(HeadNotFound, match=r"(?s)none of the 2 outputs.*'first'.*'argmax\d+'"):
        attach(source, tmp_path / "out.onnx")


def test_a_head_that_only_looks_like_one_fails_the_identity(tmp_path):
    """Reshape and Transpose may move numbers about, but here they shuffle the channels: only running shows it."""
    net = Net()
    pairs = net.op("Reshape", net.pooled(6), net.const(np.array([-1, 2, 3], np.int64)))
    shuffled = net.op("Reshape", net.op("Transpose", pairs, perm=[0, 2, 1]), net.const(np.array([-1, 6], np.int64)))
    source = net.save(tmp_path / "in.onnx", net.gemm(shuffled, channels=6))
    with pytest.raises(ExportError, match="do not add up to the logits"):
        attach(source, tmp_path / "out.onnx", **PLAIN)
    assert [file.name for file in tmp_path.iterdir()] == ["in.onnx"]


@pytest.mark.parametrize("broken", [np.nan, np.inf])
@pytest.mark.parametrize("as_node", [False, True])
def test_weights_that_are_no_numbers_are_refused(broken, as_node, tmp_path):
    net = Net()
    values = np.full((CLASSES, CHANNELS), broken, np.float32)
    weights = net.op("Constant", value=numpy_helper.from_array(values), to="w") if as_node else net.const(values, "w")
    source = net.save(tmp_path / "in.onnx", net.op("Gemm", net.pooled(), weights, transB=1))
    with pytest.raises(ExportError, match="'w' hold 20 NaN or infinite"):
        attach(source, tmp_path / "out.onnx")


def test_scores_that_are_no_numbers_are_refused(tmp_path):
    net = Net()
    huge = net.op("Mul", net.features(), net.const(np.float32(3e38)))
    maps = net.op("Mul", huge, net.const(np.float32(1e5)))
    source = net.save(tmp_path / "in.onnx", net.gemm(net.op("Flatten", net.op("GlobalAveragePool", maps))))
    with pytest.raises(ExportError, match="holds NaN or infinite"):
        attach(source, tmp_path / "out.onnx", **PLAIN)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_a_truncated_or_empty_file_is_refused(part, tmp_path):
    net = Net()
    source = net.save(tmp_path / "in.onnx", net.gemm(net.pooled()))
    data = source.read_bytes()
    source.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(ExportError, match=r"in\.onnx.*(export it again|not a valid)"):
        attach(source, tmp_path / "out.onnx")


@pytest.mark.parametrize("content", [b"hello, this is a text file\n" * 20, b"\x89PNG\r\n\x1a\n" + bytes(100), b"{}"])
def test_a_file_of_another_kind_is_refused(content, tmp_path):
    (tmp_path / "text.onnx").write_bytes(content)
    with pytest.raises(ExportError, match=r"text\.onnx"):
        attach(tmp_path / "text.onnx", tmp_path / "out.onnx")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(ExportError, match="No such file"):
        attach(tmp_path / "nowhere.onnx", tmp_path / "out.onnx")
    with pytest.raises(ExportError, match="is a folder"):
        attach(tmp_path, tmp_path / "out.onnx")


def test_a_target_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    net = Net()
    source = net.save(tmp_path / "in.onnx", net.gemm(net.pooled()))
    with pytest.raises(UsageError, match="no folder"):
        attach(source, tmp_path / "nowhere" / "out.onnx")
    with pytest.raises(UsageError, match="is a folder"):
        attach(source, tmp_path, overwrite=True)


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    net = Net()
    source = net.save(tmp_path / "in.onnx", net.gemm(net.pooled()))
    (tmp_path / "out.onnx").write_text("the old one")
    with largest_file(1000), pytest.raises(ExportError, match=r"out\.onnx cannot be written"):
        attach(source, tmp_path / "out.onnx", overwrite=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in.onnx", "out.onnx"]
    assert (tmp_path / "out.onnx").read_text() == "the old one"


def _with_external_data(path, location):
    net = Net()
    model = net.model(net.gemm(net.pooled()))
    external_data_helper.convert_model_to_external_data(model, location=location, size_threshold=0)
    (path.parent / location).parent.mkdir(exist_ok=True)
    for tensor in model.graph.initializer:
        external_data_helper.save_external_data(tensor, str(path.parent))
        tensor.ClearField("raw_data")
    path.write_bytes(model.SerializeToString())


def _move_external_data(path, location):
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(model.SerializeToString())


def test_external_data_beside_the_model_comes_into_the_file(tmp_path):
    (tmp_path / "a").mkdir()
    _with_external_data(tmp_path / "a" / "in.onnx", "weights.bin")
    attach(tmp_path / "a" / "in.onnx", tmp_path / "out.onnx", **PLAIN)
    assert_identity(run(tmp_path / "out.onnx", random_pictures(1)))


def test_external_data_elsewhere_or_lost_is_refused(tmp_path):
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / "in.onnx"
    _with_external_data(path, "weights.bin")
    (tmp_path / "a" / "weights.bin").rename(tmp_path / "weights.bin")
    with pytest.raises(ExportError, match=r"'weights\.bin'.*not beside it"):
        attach(path, tmp_path / "out.onnx")
    (tmp_path / "a" / "link.bin").symlink_to("../weights.bin")
    (tmp_path / "a" / "up").symlink_to("..")
    for location in ("../weights.bin", str(tmp_path / "weights.bin"), "link.bin", "up/weights.bin", "/dev/zero"):
        _move_external_data(path, location)
        with pytest.raises(ExportError, match="outside the model's folder"):
            attach(path, tmp_path / "out.onnx")
    os.mkfifo(tmp_path / "a" / "pipe")
    for location in ("pipe", "", "up"):
        _move_external_data(path, location)
        with pytest.raises(ExportError, match=r"not beside it|outside the model's folder"):
            attach(path, tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


def test_external_data_where_onnx_does_not_look_is_refused(tmp_path):
    net = Net()
    model = net.model(net.gemm(net.pooled()))
    sparse = model.graph.sparse_initializer.add()
    for tensor, name in ((sparse.values, "sparse"), (sparse.indices, "where")):
        tensor.CopyFrom(onnx.TensorProto(name=name, data_type=1, dims=[1], data_location=1))
        tensor.external_data.add(key="location", value="weights.bin")
    (tmp_path / "in.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "weights.bin").write_bytes(bytes(64))
    with pytest.raises(ExportError, match="weights of 'sparse' are in another file"):
        attach(tmp_path / "in.onnx", tmp_path / "out.onnx")


def test_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "in.onnx")
    with pytest.raises(ExportError, match="is a pipe or a device"):
        attach(tmp_path / "in.onnx", tmp_path / "out.onnx")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "git lfs pull"),
        (b"<!DOCTYPE html><html><body>log in</body></html>", "web page"),
        (b"Salted__" + bytes(range(200)), "encrypted with OpenSSL"),
        (b"PK\x03\x04" + bytes(100), "torch checkpoint"),
        (b"", "empty"),
    ],
)
def test_what_a_file_is_instead_is_told(content, message, tmp_path):
    (tmp_path / "in.onnx").write_bytes(content)
    with pytest.raises(ExportError, match=message):
        attach(tmp_path / "in.onnx", tmp_path / "out.onnx")


def test_a_file_beyond_protobufs_limit_is_refused_unread(tmp_path):
    with (tmp_path / "in.onnx").open("wb") as file:
        file.write(b"\x08\x08")
        file.truncate(2**31 + 100)  # holes take no space
    with pytest.raises(ExportError, match=r"has 2\.0 GiB"):
        attach(tmp_path / "in.onnx", tmp_path / "out.onnx")


@pytest.mark.parametrize(
    ("shape", "kind", "message"),
    [
        (["N", 4, 8, 8], 1, r"\[\?, 4, 8, 8\].*3 channels \(colour\) or 1 \(grey\)"),
        (["N", 8, 8, 2], 1, r"\[N, H, W, C\]"),
        (["N", 3, 8, 8], 6, "INT32"),
        (["N", 3], 1, r"\[N, C, H, W\]"),
    ],
)
def test_an_input_that_is_no_picture_is_refused(shape, kind, message, tmp_path):
    net = Net()
    model = net.model(net.gemm(net.pooled()))
    model.graph.input[0].CopyFrom(onnx.helper.make_tensor_value_info("data", kind, shape))
    onnx.save(model, tmp_path / "in.onnx")
    with pytest.raises(ExportError, match=message):
        attach(tmp_path / "in.onnx", tmp_path / "out.onnx")


def test_a_second_input_is_refused(tmp_path):
    net = Net()
    model = net.model(net.gemm(net.pooled()))
    model.graph.input.append(onnx.helper.make_tensor_value_info("more", 1, ["N", 2]))
    onnx.save(model, tmp_path / "in.onnx")
    with pytest.raises(ExportError, match=r"2 inputs \('data', 'more'\)"):
        attach(tmp_path / "in.onnx", tmp_path / "out.onnx")


def test_an_old_opset_is_refused_with_the_way_out(tmp_path):
    net = Net(6, ir_version=3)
    source = net.save(tmp_path / "in.onnx", net.gemm(net.pooled()))
    with pytest.raises(ExportError, match=r"opset 6.*version_converter"):
        attach(source, tmp_path / "out.onnx")
