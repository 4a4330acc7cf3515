"""A model opens one head of a file with several; its session computes that head only."""

import json
import pickle
import shutil

import numpy as np
import onnx
import pytest

import camrt
from camrt.errors import ModelFileError, UsageError
from camrt.runtime.inference.head_part import head_part
from camrt.runtime.inference.head_switch import HeadSwitch
from support.tiny_models import LABELS, SIZES, write_linear, write_two_heads

FRAME = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


@pytest.fixture
def path(tmp_path):
    return write_two_heads(tmp_path / "model.onnx")


def test_the_first_head_is_opened_by_default(two_heads, tmp_path):
    alone = camrt.load(write_linear(tmp_path / "one.onnx"), provider="cpu")
    assert (two_heads.heads, two_heads.head_name, two_heads.labels) == (("kind", "size"), "kind", LABELS)
    assert (alone.heads, alone.head_name) == ((), None)
    expected = alone(FRAME)
    result = two_heads(FRAME)
    assert np.array_equal(result.logits, expected.logits)
    assert np.array_equal(result.cams(), expected.cams())


def test_another_head_has_classes_scores_and_maps_of_its_own(path, two_heads):
    for model in (camrt.load(path, provider="cpu", head="size"), two_heads.with_head("size")):
        assert (model.head_name, model.head, model.classes, model.labels) == ("size", "pooled_class_maps", 3, SIZES)
        result = model(FRAME)
        np.testing.assert_allclose(result.cams().mean(axis=(1, 2)), result.logits, rtol=1e-5)
        np.testing.assert_allclose(result.scores, 1 / (1 + np.exp(-result.logits)), rtol=1e-5)
        assert model.class_id("large") == 2
    assert two_heads.with_head("size").with_head("kind").head_name == "kind"
    assert two_heads.with_head("kind") is two_heads


def test_a_result_tells_its_head_in_another_process_too(two_heads):
    results = [two_heads(FRAME), two_heads.with_head("size")(FRAME)]
    assert [pickle.loads(pickle.dumps(result)).decoder.head for result in results] == ["kind", "size"]


@pytest.mark.parametrize("head", ["kind", "size"])
def test_the_session_computes_the_chosen_head_only(path, head):
    """ONNX Runtime computes all nodes of a graph, also those that no requested output needs."""
    part = head_part(path, head)
    graph = onnx.load_from_string(part.model).graph
    whole = onnx.load(path).graph
    other = {"kind": "weight", "size": "sizes"}[{"kind": "size", "size": "kind"}[head]]
    assert other not in {tensor.name for tensor in graph.initializer}
    assert len(graph.node) < len(whole.node)
    assert {output.name for output in graph.output} == {
        output.name for output in whole.output if output.name.endswith(".size") == (head == "size")
    }


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (write_two_heads, "no head 'age'; the model has kind, size"),
        (write_linear, "no head 'age'; the model has one head, which has no name"),
    ],
)
def test_an_unknown_head_is_refused_with_the_names(tmp_path, make, message):
    path = make(tmp_path / "model.onnx")
    with pytest.raises(UsageError, match=message):
        camrt.load(path, provider="cpu", head="age")
    with pytest.raises(UsageError, match=message):
        camrt.load(path, provider="cpu").with_head("age")


def test_a_file_that_was_replaced_gives_no_other_head(path, tmp_path):
    model = camrt.load(path, provider="cpu")
    write_linear(tmp_path / "other.onnx")
    shutil.move(tmp_path / "other.onnx", path)
    with pytest.raises(ModelFileError, match=r"model\.onnx has changed since it was opened"):
        model.with_head("size")
    switch = HeadSwitch(model)
    with pytest.raises(UsageError, match=r"the head 'size' cannot be opened: .* has changed"):
        switch.select("size")
    assert switch.model is model
    assert model.with_head("kind") is model


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("[", "metadata camrt.heads is not JSON"),
        ("7", "camrt.heads is 7, which is no list of objects"),
        ('[{"name": "kind"}]', "metadata cannot be read"),
        (lambda heads: [{**heads[0], "activation": "relu"}], "camrt.activation is 'relu'"),
        (lambda heads: [*heads, {**heads[0], "name": "age"}], "has the head 'age', and its outputs do not"),
        (lambda heads: [heads[0], {**heads[1], "labels": ["small"]}], "has 3 classes and 1 labels"),
        (lambda heads: [heads[0], {**heads[1], "head": "linear"}], "says head 'linear' but its outputs are"),
    ],
)
def test_damaged_entries_of_heads_are_refused(path, entry, message):
    model = onnx.load(path)
    (property_,) = (one for one in model.metadata_props if one.key == "camrt.heads")
    property_.value = entry if isinstance(entry, str) else json.dumps(entry(json.loads(property_.value)))
    onnx.save(model, path)
    with pytest.raises(ModelFileError, match=message):
        camrt.load(path, provider="cpu", head="age" if "age" in property_.value else "size")


def test_labels_and_geometry_of_the_caller_are_kept(path):
    geometry = camrt.load(path, provider="cpu").geometry
    geometry = type(geometry)(width=geometry.width, height=geometry.height, resize="letterbox")
    model = camrt.load(path, provider="cpu", labels=list("abcd"), geometry=geometry)
    assert model.labels_of("kind") == model.labels_of(None) == tuple("abcd")
    assert model.labels_of("size") == SIZES
    assert model.with_head("size").geometry == geometry
    assert model.with_head("size").labels == SIZES
