"""Metadata of a model file is unchanged after writing and reading."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camrt.errors import ModelFileError, UsageError
from camrt.model_file import HeadInfo, InputGeometry, ModelInfo
from camrt.text import one_line

geometries = st.builds(
    InputGeometry,
    width=st.integers(1, 4096),
    height=st.integers(1, 4096),
    resize=st.sampled_from(["stretch", "letterbox", "crop"]),
    interpolation=st.sampled_from(["antialias", "linear", "area"]),
)
heads = st.builds(
    HeadInfo,
    name=st.text(min_size=1).map(one_line),
    classes=st.just(3),
    labels=st.none() | st.lists(st.text("abc"), min_size=3, max_size=3).map(tuple),
    activation=st.sampled_from(["softmax", "sigmoid", "none"]),
    head=st.sampled_from(["linear", "masked"]),
    map_margin=st.integers(0, 3),
    verification=st.dictionaries(st.text(), st.floats(allow_nan=False)),
)
infos = st.builds(
    ModelInfo,
    labels=st.none() | st.lists(st.text(), min_size=1, max_size=5).map(tuple),
    geometry=st.none() | geometries,
    activation=st.sampled_from([None, "softmax", "sigmoid", "none"]),
    head=st.sampled_from([None, "linear", "pooled_class_maps"]),
    map_margin=st.integers(0, 3),
    preprocessing=st.dictionaries(st.text(), st.floats(allow_nan=False)),
    source=st.dictionaries(st.text(), st.text()),
    heads=st.lists(heads, max_size=3, unique_by=lambda head: head.name).map(tuple),
    quantization=st.dictionaries(st.text(), st.text() | st.dictionaries(st.text(), st.floats(allow_nan=False))),
)


@given(infos)
def test_metadata_survives_the_round_trip(info):
    entries = info.to_metadata()
    assert all(key.startswith("camrt.") and isinstance(value, str) for key, value in entries.items())
    labels = None if info.labels is None else tuple(map(one_line, info.labels))
    assert ModelInfo.from_metadata(entries) == replace(info, labels=labels)


def test_a_head_replaces_the_entries_that_heads_do_not_share():
    one = HeadInfo(
        name="b",
        classes=2,
        labels=("x", "y"),
        activation="sigmoid",
        head="masked",
        map_margin=1,
        verification={"images": "8 synthetic"},
    )
    info = ModelInfo(head="linear", activation="softmax", source={"file": "in.onnx"}, heads=(one,))
    of_head = info.of_head("b")
    assert (of_head.labels, of_head.activation, of_head.head, of_head.map_margin) == (
        ("x", "y"),
        "sigmoid",
        "masked",
        1,
    )
    assert of_head.verification == one.verification
    assert (of_head.source, of_head.heads) == (info.source, info.heads)
    assert info.of_head(None) is info
    with pytest.raises(UsageError, match="no head 'c'; the model has b"):
        info.of_head("c")


def test_quantization_params_are_read_from_the_metadata():
    assert ModelInfo().quantization_params is None
    info = ModelInfo(quantization={"kind": "int8", "features": {"scale": 0.5, "zero_point": 3}})
    assert ModelInfo.from_metadata(info.to_metadata()).quantization_params == (0.5, 3)


@pytest.mark.parametrize(
    "entry",
    [
        {"scale": 0.0, "zero_point": 0},
        {"scale": -1.0, "zero_point": 0},
        {"scale": float("nan"), "zero_point": 0},
        {"scale": float("inf"), "zero_point": 0},
        {"scale": 1.0, "zero_point": 256},
        {"scale": 1.0},
        {"scale": "much", "zero_point": 0},
        7,
    ],
)
def test_invalid_quantization_params_are_refused(entry):
    with pytest.raises(ModelFileError, match="Create the file again"):
        _ = ModelInfo(quantization={"features": entry}).quantization_params


def test_foreign_entries_are_ignored():
    assert ModelInfo.from_metadata({"author": "someone", "labels": "not json"}) == ModelInfo()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"camrt.labels": "{"}, "camrt.labels is not JSON"),
        ({"camrt.format": "2"}, "has format 2; this camrt reads format 1"),
        ({"camrt.head": '"quadratic"'}, "linear, pooled_class_maps"),
        ({"camrt.activation": '"relu"'}, "softmax, sigmoid, none"),
        ({"camrt.input": '{"width": 3}'}, "cannot be read"),
        ({"camrt.input": '{"width": 0, "height": 4}'}, "width of the input is 0; it must be a whole number from 1 to"),
        ({"camrt.labels": "5"}, "camrt.labels is 5, which is no list of texts"),
    ],
)
def test_invalid_metadata_is_refused(entries, message):
    with pytest.raises(ModelFileError, match=message):
        ModelInfo.from_metadata(entries)
