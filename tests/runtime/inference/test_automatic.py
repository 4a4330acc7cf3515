"""Provider ``auto`` takes the fastest provider that keeps the maps, and remembers its choice.

Which provider is fastest here is not known. So slow and fast ones are made from one: a model that runs ten times.
"""

import json

import numpy as np
import pytest

import camrt
from camrt.errors import UsageError
from camrt.runtime.inference.automatic import LARGEST_DIFFERENCE, choose, difference, recall, remember
from support.tiny_models import SIZE, write_linear


class TenTimes:
    """A model that takes ten times as long."""

    def __init__(self, model):
        self.model = model
        self.precision = model.precision

    def __call__(self, frames):
        return [self.model(frames) for _ in range(10)][-1]


@pytest.fixture
def model(tmp_path):
    return camrt.load(write_linear(tmp_path / "model.onnx", channels=256), "cpu", threads=1)


@pytest.fixture
def other(tmp_path):
    """A model with other weights, so with other maps."""
    return camrt.load(write_linear(tmp_path / "other.onnx", channels=256, seed=1), "cpu", threads=1)


def test_the_faster_provider_is_chosen_and_the_remark_has_both_times(model):
    choice = choose({"cuda": model, "cpu": TenTimes(model)})
    assert choice["provider"] == "cuda"
    assert choice["remark"].startswith("provider 'auto' chose 'cuda': 'cuda' takes ")
    assert " ms a frame; 'cpu' takes " in choice["remark"]
    assert "changes" not in choice["remark"]
    assert choose({"cuda": TenTimes(model), "cpu": model})["provider"] == "cpu"
    assert (
        choose({"cuda": TenTimes(TenTimes(model)), "openvino": model, "cpu": TenTimes(model)})["provider"] == "openvino"
    )


def test_a_faster_provider_that_changes_the_maps_is_not_chosen(model, other):
    choice = choose({"cuda": other, "cpu": TenTimes(model)})
    assert choice["provider"] == "cpu"
    assert "'cuda' takes " in choice["remark"]
    assert "and changes the maps or logits of this fp32 file by " in choice["remark"]


def test_the_difference_is_the_largest_of_logits_and_maps_as_a_share_of_the_largest_value(model, other):
    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    assert difference(model, model, [image]) == 0.0
    given, wanted = other(image), model(image)
    class_id = wanted.top(1)[0][0]
    expected = max(
        np.abs(given.logits - wanted.logits).max() / np.abs(wanted.logits).max(),
        np.abs(given.cam(class_id) - wanted.cam(class_id)).max() / np.abs(wanted.cam(class_id)).max(),
    )
    assert difference(other, model, [image, image]) == pytest.approx(expected)
    assert expected > LARGEST_DIFFERENCE


def test_a_provider_that_gives_no_numbers_changes_the_maps(model, tmp_path):
    path = write_linear(tmp_path / "nan.onnx", channels=256)
    data = path.read_bytes()
    bias = np.random.default_rng(0)
    bias.normal(0, 0.1, (256, 3, 4, 4))
    bias.normal(0, 1, (4, 256))
    values = bias.normal(0, 1, 4).astype(np.float32).tobytes()
    assert data.count(values) == 1
    path.write_bytes(data.replace(values, np.full(4, np.nan, np.float32).tobytes()))
    choice = choose({"cuda": camrt.load(path, "cpu", threads=1), "cpu": TenTimes(model)})
    assert choice["provider"] == "cpu"
    assert choice["remark"].endswith(" by inf%")


def test_choices_are_kept_the_newest_hundred_and_a_damaged_file_is_no_choice(tmp_path):
    store = tmp_path / "choices.json"
    assert recall(store, "0") is None
    for number in range(120):
        remember(store, str(number), {"provider": "cpu", "remark": f"remark {number}"})
    assert recall(store, "19") is None
    assert recall(store, "20") == {"provider": "cpu", "remark": "remark 20"}
    remember(store, "20", {"provider": "cuda", "remark": "again"})
    assert recall(store, "20") == {"provider": "cuda", "remark": "again"}
    assert list(tmp_path.iterdir()) == [store]
    for damaged in (b"", b"{", b"[]", b"\xff", json.dumps({"20": {"provider": 1}}).encode(), b'{"20": "cpu"}'):
        store.write_bytes(damaged)
        assert recall(store, "20") is None
    remember(store, "1", {"provider": "cpu", "remark": "new"})
    assert recall(store, "1") == {"provider": "cpu", "remark": "new"}


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    remember(tmp_path / "missing" / "choices.json", "1", {"provider": "cpu", "remark": ""})
    assert not (tmp_path / "missing").exists()


def test_options_need_a_named_provider(model):
    with pytest.raises(UsageError, match=r"provider options \(device_id\) need an explicit --provider"):
        camrt.load(model.path, provider_options={"device_id": "0"})
