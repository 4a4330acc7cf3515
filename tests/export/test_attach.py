"""What `attach` makes of a classifier whose head is plain: input, batch, names, metadata, labels."""

import json

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from camrt.errors import ExportError, SourceError, UsageError
from camrt.export import attach
from camrt.export.graph.preprocessing import Preprocessing
from camrt.model_file import ModelInfo
from support.export_graphs import (
    CHANNELS,
    CLASSES,
    PLAIN,
    Net,
    assert_identity,
    expected_output,
    newest_opset,
    random_pictures,
    run,
    session,
)


@pytest.fixture
def classifier(tmp_path):
    net = Net()
    return net.save(tmp_path / "in.onnx", net.gemm(net.pooled()))


def info_of(path):
    metadata = session(path).get_modelmeta().custom_metadata_map
    return ModelInfo.from_metadata(metadata)


def test_the_metadata_says_what_a_reader_needs(classifier, tmp_path):
    model = onnx.load(classifier)
    onnx.helper.set_model_props(model, {"trained_on": "nothing"})
    onnx.save(model, classifier)
    attach(
        classifier,
        tmp_path / "out.onnx",
        labels=["a", "b", "c", "d"],
        resize="crop",
        shorter_side=9,
        interpolation="area",
        activation="sigmoid",
        **PLAIN,
    )
    info = info_of(tmp_path / "out.onnx")
    assert info.labels == ("a", "b", "c", "d")
    assert (info.geometry.width, info.geometry.height) == (8, 8)
    assert (info.geometry.resize, info.geometry.shorter_side, info.geometry.interpolation) == ("crop", 9, "area")
    assert (info.head, info.activation, info.map_margin) == ("linear", "sigmoid", 0)
    assert info.preprocessing == {"channels": "bgr", "scale": 1.0, "mean": [0, 0, 0], "std": [1, 1, 1]}
    assert info.source["file"] == "in.onnx"  # no folder: it says nothing to anybody else
    assert (info.source["producer"], info.source["opset"]) == ("tests", 17)
    assert info.verification["identity_error"] <= info.verification["identity_tolerance"] == 1e-4
    assert info.verification["pictures"] == "8 synthetic"
    assert session(tmp_path / "out.onnx").get_modelmeta().custom_metadata_map["trained_on"] == "nothing"


def test_the_report_states_what_was_assumed(classifier, tmp_path):
    assumed = " ".join(attach(classifier, tmp_path / "out.onnx").assumptions)
    for word in ("ImageNet", "RGB", "stretched", "softmax", "no names"):
        assert word in assumed
    told = attach(
        classifier, tmp_path / "told.onnx", labels=list("abcd"), activation="none", resize="letterbox", **PLAIN
    )
    assert told.assumptions == ()


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    scale=st.sampled_from([1.0, 1 / 255, 1 / 127.5]),
    mean=st.lists(st.floats(-1, 1), min_size=3, max_size=3),
    std=st.lists(st.floats(0.1, 10), min_size=3, max_size=3),
)
def test_the_graph_computes_the_preprocessing_that_was_asked_for(channels, tmp_path, scale, mean, std):
    """The network sees (pixel * scale - mean) / std: a 1x1 "convolution" that copies its input shows what it saw."""
    net = Net()
    maps = net.op("Conv", net.input, net.const(np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)))
    source = net.save(tmp_path / "in.onnx", net.gemm(net.op("Flatten", net.op("GlobalAveragePool", maps)), channels=3))
    wanted = [value * 255 * scale for value in mean]
    attach(source, tmp_path / "out.onnx", channels=channels, scale=scale, mean=wanted, std=std, overwrite=True)
    pictures = random_pictures(2)
    ordered = pictures[..., ::-1] if channels == "rgb" else pictures
    expected = ((ordered * scale - np.array(wanted)) / np.array(std)).transpose(0, 3, 1, 2)
    seen = run(tmp_path / "out.onnx", pictures)["features"]
    np.testing.assert_allclose(seen, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_preprocessing_that_changes_nothing_costs_no_node(classifier, tmp_path):
    attach(classifier, tmp_path / "plain.onnx", **PLAIN)
    operators = [node.op_type for node in onnx.load(tmp_path / "plain.onnx").graph.node]
    assert operators[:2] == ["Transpose", "Cast"]
    assert "Gather" not in operators
    assert operators.count("Mul") == 1  # the network's own


@pytest.mark.parametrize(
    "wrong",
    [
        {"mean": (123, 117, 104)},  # of 0..255, beside scale 1/255
        {"std": (1, 0, 1)},
        {"scale": 0},
        {"scale": float("nan")},
        {"mean": (0, 0)},
        {"channels": "gbr"},
    ],
)
def test_preprocessing_that_cannot_be_meant_is_refused(wrong):
    with pytest.raises(UsageError):
        Preprocessing(**wrong)


@pytest.mark.parametrize("opset", [9, 13, newest_opset()])
@pytest.mark.parametrize("shape", [[1, -1], [1, CHANNELS], [-1, CHANNELS], [0, CHANNELS]])
def test_a_fixed_batch_is_opened(shape, opset, tmp_path):
    net = Net(opset, batch=1)
    flat = net.op("Reshape", net.op("GlobalAveragePool", net.features()), net.const(np.array(shape, np.int64)))
    source = net.save(tmp_path / "in.onnx", net.gemm(flat))
    attach(source, tmp_path / "out.onnx", **PLAIN)
    for count in (1, 3):
        results = run(tmp_path / "out.onnx", random_pictures(count))
        assert results["scores"].shape == (count, CLASSES)
        np.testing.assert_allclose(results["logits"], expected_output(source, random_pictures(count)), atol=1e-5)


def test_a_fixed_batch_of_several_pictures_is_opened_too(tmp_path):
    net = Net(batch=4)
    flat = net.op("Reshape", net.op("GlobalAveragePool", net.features()), net.const(np.array([4, -1], np.int64)))
    source = net.save(tmp_path / "in.onnx", net.gemm(flat))
    attach(source, tmp_path / "out.onnx", **PLAIN)
    assert run(tmp_path / "out.onnx", random_pictures(3))["scores"].shape == (3, CLASSES)


def test_a_reshape_shared_with_the_weights_is_changed_only_for_the_pictures(tmp_path):
    net = Net(batch=1)
    shape = net.const(np.array([1, CHANNELS], np.int64))
    gain = net.op("Reshape", net.weights(CHANNELS, 1), shape)
    flat = net.op("Reshape", net.op("GlobalAveragePool", net.features()), shape)
    weights = net.op("Mul", net.weights(CLASSES, CHANNELS), gain)
    source = net.save(tmp_path / "in.onnx", net.op("Gemm", flat, weights, transB=1))
    attach(source, tmp_path / "out.onnx", **PLAIN)
    assert_identity(run(tmp_path / "out.onnx", random_pictures(2)))


def test_a_graph_that_fails_on_two_pictures_is_refused_with_its_node(tmp_path):
    net = Net(batch=1)
    flat = net.op("Reshape", net.features(), net.const(np.array([CHANNELS, 16], np.int64)), to="flat")
    maps = net.op("Reshape", flat, net.const(np.array([1, CHANNELS, 4, 4], np.int64)))
    source = net.save(tmp_path / "in.onnx", net.gemm(net.op("Flatten", net.op("GlobalAveragePool", maps))))
    with pytest.raises(ExportError, match=r"batch of 2.*the_flat"):
        attach(source, tmp_path / "out.onnx", **PLAIN)
    assert not (tmp_path / "out.onnx").exists()


def test_a_graph_that_mixes_two_pictures_is_refused(tmp_path):
    net = Net(batch=1)
    largest = net.op("ReduceMax", net.features(), axes=[0], keepdims=1)
    maps = net.op("Add", net.features(), largest)
    source = net.save(tmp_path / "in.onnx", net.gemm(net.op("Flatten", net.op("GlobalAveragePool", maps))))
    with pytest.raises(ExportError, match="batch is mixed"):
        attach(source, tmp_path / "out.onnx", **PLAIN)


@pytest.mark.parametrize("name", ["image", "scores", "logits", "features", "cam_weights", "cam_bias", "class_maps"])
def test_names_of_the_source_may_be_those_of_the_model_file(name, tmp_path):
    net = Net()
    pooled = net.pooled()
    renamed = net.op("Identity", pooled, to=name)
    source = net.save(tmp_path / "in.onnx", net.gemm(renamed))
    attach(source, tmp_path / "out.onnx", **PLAIN)
    results = run(tmp_path / "out.onnx", random_pictures(2))
    assert_identity(results)
    np.testing.assert_allclose(results["logits"], expected_output(source, random_pictures(2)), atol=1e-5)


def test_input_and_output_may_bear_the_model_files_names_with_other_meanings(tmp_path):
    net = Net()
    net.input = "image"
    source = net.save(tmp_path / "in.onnx", net.gemm(net.pooled(), to="features"))
    attach(source, tmp_path / "out.onnx", output="features", **PLAIN)
    results = run(tmp_path / "out.onnx", random_pictures(2))
    np.testing.assert_allclose(results["logits"], expected_output(source, random_pictures(2)), atol=1e-5)
    assert info_of(tmp_path / "out.onnx").source["output"] == "features"


def test_names_inside_subgraphs_are_renamed_too(tmp_path):
    net = Net()
    pooled = net.op("Identity", net.pooled(), to="features")
    branches = {
        branch: onnx.helper.make_graph(
            [onnx.helper.make_node("Identity", ["features"], [f"{branch}_out"])],
            branch,
            [],
            [onnx.helper.make_tensor_value_info(f"{branch}_out", 1, ["N", CHANNELS])],
        )
        for branch in ("then_branch", "else_branch")
    }
    unused = net.op("If", net.const(np.array(True)), **branches)
    total = net.op("Add", net.gemm(pooled), net.op("ReduceMean", unused, keepdims=1))
    source = net.save(tmp_path / "in.onnx", net.gemm(pooled, to="named"), total)
    attach(source, tmp_path / "out.onnx", output="named", **PLAIN)
    assert_identity(run(tmp_path / "out.onnx", random_pictures(2)))


def test_weights_listed_as_inputs_are_weights(tmp_path):
    """IR version 3 knows no other way."""
    net = Net(9, ir_version=3)
    source = net.save(tmp_path / "in.onnx", net.gemm(net.pooled()))
    assert len(onnx.load(source).graph.input) > 1
    attach(source, tmp_path / "out.onnx", **PLAIN)
    assert [value.name for value in onnx.load(tmp_path / "out.onnx").graph.input] == ["image"]
    assert_identity(run(tmp_path / "out.onnx", random_pictures(2)))


def test_networks_of_half_precision_give_float32(tmp_path):
    net = Net(dtype=np.float16)
    source = net.save(tmp_path / "in.onnx", net.gemm(net.pooled()))
    attach(source, tmp_path / "out.onnx", **PLAIN)
    results = run(tmp_path / "out.onnx", random_pictures(2))
    assert {values.dtype for values in results.values()} == {np.dtype(np.float32)}
    assert_identity(results, 5e-3)


def test_networks_that_take_doubles_get_doubles(tmp_path):
    net = Net()
    net.nodes.append(onnx.helper.make_node("Cast", ["doubles"], [net.input], to=onnx.TensorProto.FLOAT))
    output = net.gemm(net.pooled())
    net.input = "doubles"
    model = net.model(output)
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    onnx.save(model, tmp_path / "in.onnx")
    attach(tmp_path / "in.onnx", tmp_path / "out.onnx", **PLAIN)
    assert_identity(run(tmp_path / "out.onnx", random_pictures(2)))


def test_a_size_that_the_network_leaves_open_must_be_said(tmp_path):
    net = Net()
    source = net.save(tmp_path / "in.onnx", net.gemm(net.pooled()), size="any")
    with pytest.raises(UsageError, match="--size"):
        attach(source, tmp_path / "out.onnx", **PLAIN)
    report = attach(source, tmp_path / "out.onnx", size=(12, 10), **PLAIN)
    assert report.input == (12, 10)
    assert report.features == (CHANNELS, 5, 6)
    assert_identity(run(tmp_path / "out.onnx", random_pictures(2, 12, 10)))


def test_a_size_that_is_not_the_networks_is_refused(classifier, tmp_path):
    with pytest.raises(UsageError, match="9x9"):
        attach(classifier, tmp_path / "out.onnx", size=(9, 9))


def test_labels_come_from_a_file_as_people_write_them(classifier, tmp_path):
    file = tmp_path / "labels.txt"
    file.write_bytes("\ufeffBär\r\n cat \r\ndog\r\nfish\r\n\r\n\n".encode())
    assert attach(classifier, tmp_path / "out.onnx", labels=file).labels == ("Bär", "cat", "dog", "fish")
    stored = session(tmp_path / "out.onnx").get_modelmeta().custom_metadata_map["camrt.labels"]
    assert json.loads(stored) == ["Bär", "cat", "dog", "fish"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\nb\nc\n", "3 labels.*4 classes.*background"),
        (b"a\nb\nc\nd\ne\nf\n", "6 labels.*4 classes"),
        (b"", "0 labels.*4 classes"),
        (b"a\n\nb\nc\nd\n", "line 2 is empty"),
        (b"\xff\xfea\x00", "not UTF-8"),
    ],
)
def test_labels_that_do_not_fit_are_refused(content, message, classifier, tmp_path):
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(UsageError, match=message):
        attach(classifier, tmp_path / "out.onnx", labels=tmp_path / "labels.txt")
    assert not (tmp_path / "out.onnx").exists()


def test_a_missing_label_file_is_named(classifier, tmp_path):
    with pytest.raises(UsageError, match=r"nowhere\.txt"):
        attach(classifier, tmp_path / "out.onnx", labels=tmp_path / "nowhere.txt")


def test_real_pictures_are_used_where_given(classifier, tmp_path, shared_data):
    report = attach(classifier, tmp_path / "out.onnx", pictures=shared_data / "cam_reference")
    assert report.verification["pictures"].endswith(" real")


def test_a_broken_picture_is_named(classifier, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match=r"broken\.png"):
        attach(classifier, tmp_path / "out.onnx", pictures=[tmp_path / "broken.png"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no images"):
        attach(classifier, tmp_path / "out.onnx", pictures=tmp_path / "empty")


@pytest.mark.parametrize(
    "wrong", [{"resize": "squash"}, {"shorter_side": 300}, {"activation": "relu"}, {"interpolation": "cubic"}]
)
def test_options_out_of_range_are_refused(wrong, classifier, tmp_path):
    with pytest.raises(UsageError):
        attach(classifier, tmp_path / "out.onnx", **wrong)


def test_an_activation_that_contradicts_the_graph_is_refused(tmp_path):
    net = Net()
    source = net.save(tmp_path / "in.onnx", net.op("Softmax", net.gemm(net.pooled()), axis=1))
    with pytest.raises(UsageError, match="softmax already"):
        attach(source, tmp_path / "out.onnx", activation="sigmoid")


def test_an_existing_file_is_kept_unless_told_otherwise(classifier, tmp_path):
    target = tmp_path / "out.onnx"
    target.write_text("mine")
    with pytest.raises(UsageError, match="--overwrite"):
        attach(classifier, target)
    assert target.read_text() == "mine"
    attach(classifier, target, overwrite=True)
    assert_identity(run(target, random_pictures(1)))


def test_the_classifier_is_never_overwritten(classifier):
    before = classifier.read_bytes()
    with pytest.raises(UsageError, match="another name"):
        attach(classifier, classifier, overwrite=True)
    assert classifier.read_bytes() == before


def test_a_model_file_is_not_attached_twice(classifier, tmp_path):
    attach(classifier, tmp_path / "once.onnx")
    with pytest.raises(ExportError, match="model file already"):
        attach(tmp_path / "once.onnx", tmp_path / "twice.onnx")
