"""What is written into a model file's metadata is what is read from it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camrt.errors import ModelFileError
from camrt.model_file import InputGeometry, ModelInfo

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
    head=st.sampled_from([None, "linear", "class_maps"]),
    map_margin=st.integers(0, 3),
    preprocessing=st.dictionaries(st.text(), st.floats(allow_nan=False)),
    source=st.dictionaries(st.text(), st.text()),
)


@given(infos)
def test_metadata_survives_the_round_trip(info):
    entries = info.to_metadata()
    assert all(key.startswith("camrt.") and isinstance(value, str) for key, value in entries.items())
    assert ModelInfo.from_metadata(entries) == info


def test_entries_of_others_are_ignored():
    assert ModelInfo.from_metadata({"author": "someone", "labels": "not json"}) == ModelInfo()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"camrt.labels": "{"}, "camrt.labels is not JSON"),
        ({"camrt.format": "2"}, "format 2"),
        ({"camrt.head": '"quadratic"'}, "linear, class_maps"),
        ({"camrt.activation": '"relu"'}, "softmax, sigmoid, none"),
        ({"camrt.input": '{"width": 3}'}, "cannot be read"),
        ({"camrt.input": '{"width": 0, "height": 4}'}, "is empty"),
        ({"camrt.labels": "5"}, "cannot be read"),
    ],
)
def test_metadata_that_makes_no_sense_is_refused(entries, message):
    with pytest.raises(ModelFileError, match=message):
        ModelInfo.from_metadata(entries)
