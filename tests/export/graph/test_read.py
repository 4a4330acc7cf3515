"""Reading a classifier: damaged, foreign, incomplete or too old files are refused, and the message says what to do."""

import os

import numpy as np
import onnx
import pytest
from onnx import external_data_helper, numpy_helper

from camrt.errors import ExportError, UsageError
from camrt.export import attach
from support.export_graphs import CHANNELS, CLASSES, PLAIN, Net, assert_identity, random_images, run


@pytest.mark.parametrize("broken", [np.nan, np.inf])
@pytest.mark.parametrize("as_node", [False, True])
def test_nan_or_infinite_weights_are_refused(broken, as_node, tmp_path):
    net = Net()
    values = np.full((CLASSES, CHANNELS), broken, np.float32)
    weights = net.op("Constant", value=numpy_helper.from_array(values), to="w") if as_node else net.const(values, "w")
    source = net.save(tmp_path / "in.onnx", net.op("Gemm", net.pooled(), weights, transB=1))
    with pytest.raises(ExportError, match="'w' hold 20 NaN or infinite"):
        attach(source, tmp_path / "out.onnx")


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_truncated_or_empty_file_is_refused(part, tmp_path):
    net = Net()
    source = net.save(tmp_path / "in.onnx", net.gemm(net.pooled()))
    data = source.read_bytes()
    source.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(ExportError, match=r"in\.onnx.*(export it again|not a valid)"):
        attach(source, tmp_path / "out.onnx")


@pytest.mark.parametrize("content", [b"hello, this is a text file\n" * 20, b"\x89PNG\r\n\x1a\n" + bytes(100), b"{}"])
def test_file_of_another_kind_is_refused(content, tmp_path):
    (tmp_path / "text.onnx").write_bytes(content)
    with pytest.raises(ExportError, match=r"text\.onnx"):
        attach(tmp_path / "text.onnx", tmp_path / "out.onnx")


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
def test_message_names_the_kind_of_a_foreign_file(content, message, tmp_path):
    (tmp_path / "in.onnx").write_bytes(content)
    with pytest.raises(ExportError, match=message):
        attach(tmp_path / "in.onnx", tmp_path / "out.onnx")


def test_missing_file_and_folder_are_refused(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        attach(tmp_path / "nowhere.onnx", tmp_path / "out.onnx")
    with pytest.raises(ExportError, match="is a folder"):
        attach(tmp_path, tmp_path / "out.onnx")


def test_pipe_is_refused_without_reading_it(tmp_path):
    os.mkfifo(tmp_path / "in.onnx")
    with pytest.raises(ExportError, match="is a pipe or a device"):
        attach(tmp_path / "in.onnx", tmp_path / "out.onnx")


def test_file_beyond_the_protobuf_limit_is_refused_without_reading_it(tmp_path):
    with (tmp_path / "in.onnx").open("wb") as file:
        file.write(b"\x08\x08")
        file.truncate(2**31 + 100)  # holes take no space
    with pytest.raises(ExportError, match=r"has 2\.0 GiB"):
        attach(tmp_path / "in.onnx", tmp_path / "out.onnx")


def test_old_opset_is_refused_with_the_function_that_converts_it(tmp_path):
    net = Net(6, ir_version=3)
    source = net.save(tmp_path / "in.onnx", net.gemm(net.pooled()))
    with pytest.raises(ExportError, match=r"opset 6.*version_converter"):
        attach(source, tmp_path / "out.onnx")


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


def test_external_data_beside_the_model_is_read(tmp_path):
    (tmp_path / "a").mkdir()
    _with_external_data(tmp_path / "a" / "in.onnx", "weights.bin")
    attach(tmp_path / "a" / "in.onnx", tmp_path / "out.onnx", **PLAIN)
    assert_identity(run(tmp_path / "out.onnx", random_images(1)))


def test_external_data_elsewhere_or_missing_is_refused(tmp_path):
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


def test_external_data_of_a_sparse_tensor_is_refused(tmp_path):
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
