"""Metadata of a model file is unchanged after writing and reading."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camrt.errors import ModelFileError
from camrt.model_file import InputGeometry, ModelInfo
from camrt.text import one_line

geometries = st.builds(
    InputGeometry,
    width=st.integers(1, 4096),
    height=st.integers(1, 4096),
    resize=st.sampled_from(["stretch", "letterbox", "crop"]),
    interpolation=st.sampled_from(["linear", "area"]),
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
    quantization=st.dictionaries(st.text(), st.text() | st.dictionaries(st.text(), st.floats(allow_nan=False))),
)


@given(infos)
def test_metadata_survives_the_round_trip(info):
    entries = info.to_metadata()
    assert all(key.startswith("camrt.") and isinstance(value, str) for key, value in entries.items())
    labels = None if info.labels is None else tuple(map(one_line, info.labels))
    assert ModelInfo.from_metadata(entries) == replace(info, labels=labels)


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
        ({"camrt.input": '{"width": 0, "height": 4}'}, "is empty"),
        ({"camrt.labels": "5"}, "cannot be read"),
    ],
)
def test_invalid_metadata_is_refused(entries, message):
    with pytest.raises(ModelFileError, match=message):
        ModelInfo.from_metadata(entries)
