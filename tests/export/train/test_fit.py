"""The training loop: exact after any interruption, and stopped where it cannot go on."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from camrt.errors import ExportError, TrainingError, UsageError
from camrt.export.train.fit import BEST, LAST, Job, fit, is_over, learning_rate, load_best
from camrt.export.train.gap_cnn import GapCnn
from camrt.export.train.prepare import prepare
from camrt.export.train.recipe import Recipe
from camrt.export.train.samples import Sample
from camrt.export.train.state import new_state, read_checkpoint
from support.training_data import COLOURS, shape_image, write_image

LABELS = tuple(COLOURS)
SIZE = 32


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Training and validation images, and their class numbers."""
    folder = tmp_path_factory.mktemp("images")
    found = []
    for count, first in ((6, 0), (3, 100)):
        samples = [
            Sample(write_image(folder / f"{label}{number}.png", shape_image(label, number)[0]), "", label)
            for label in LABELS
            for number in range(first, first + count)
        ]
        part = prepare(samples, SIZE, whole=first > 0, room=1 << 30)
        found.append((part, np.array([LABELS.index(sample.label) for sample in samples], np.int64)))
    return found


class Body(nn.Module):
    """Convolutions with normalisation and dropout, whose random numbers must continue, too."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2), nn.Conv2d(8, 8, 3, 2, 1))
        )

    def forward(self, images):
        return self.layers(images)


def job_of(parts, folder, **changes):
    (train, train_targets), (val, val_targets) = parts
    options = {name: changes.pop(name) for name in ("selects", "head_first") if name in changes}
    recipe = Recipe(**{"size": SIZE, "epochs": 4, "batch": 6, "augment": "strong", **changes})
    return Job(
        recipe=recipe,
        epochs=recipe.epochs,
        classes=LABELS,
        train=train,
        val=val,
        train_targets=train_targets,
        val_targets=val_targets,
        selects=options.get("selects", True),
        head_first=options.get("head_first", 0.0),
        followed=(0, 3),
        device=torch.device("cpu"),
        folder=folder,
        fingerprint="these images",
    )


def begun(job, body=None):
    torch.manual_seed(job.recipe.seed)
    network = GapCnn(Body() if body is None else body, 8, len(LABELS))
    return new_state(network, batch=job.recipe.batch, weight_decay=job.recipe.weight_decay)


def run(job, state=None, on_epoch=lambda _: None):
    state = begun(job) if state is None else state
    fit(job, state, lambda _, __: None, on_epoch)
    return state


def results(state):
    """Return the history without times."""
    return [{key: value for key, value in epoch.items() if "seconds" not in key} for epoch in state.history]


def assert_same(state, other):
    assert results(state) == results(other)
    for one, two in ((state.network, other.network), (state.average, other.average)):
        for name, value in one.state_dict().items():
            assert torch.equal(value, two.state_dict()[name]), name


def nothing(*_):
    pass


class Killed(BaseException):
    """Ends a training anywhere, as a signal does."""


def test_training_learns_the_classes(parts, tmp_path):
    state = run(job_of(parts, tmp_path, epochs=25, augment="light", learning_rate=0.02))
    assert state.best["top1"] == 1.0
    assert state.history[-1]["train_loss"] < state.history[0]["train_loss"]


@pytest.mark.parametrize(
    ("where", "count"), [("a step", 1), ("a step", 8), ("the maps", 1), ("the maps", 3), ("the end of an epoch", 2)]
)
def test_a_training_goes_on_as_if_it_was_not_interrupted(parts, tmp_path, where, count):
    """The dropout, the crops, the order, the optimizer and the average all continue."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    expected = run(job_of(parts, whole))
    job = job_of(parts, cut)
    state = begun(job)
    passed = []

    def stop(*_):
        passed.append(None)
        if len(passed) == count:
            raise Killed

    if where == "a step":
        state.network.features.register_forward_pre_hook(stop)
    hooks = [stop if where == name else nothing for name in ("the maps", "the end of an epoch")]
    with pytest.raises(Killed):
        fit(job, state, *hooks)
    again = begun(job)
    assert again.load(cut / LAST) == "these images"
    assert_same(run(job, again), expected)
    first, second = (read_checkpoint(folder / BEST) for folder in (whole, cut))
    assert first["epoch"] == second["epoch"]
    assert all(torch.equal(value, second["network"][name]) for name, value in first["network"].items())


def test_a_finished_training_does_not_go_on(parts, tmp_path):
    job = job_of(parts, tmp_path, epochs=2)
    run(job)
    state = begun(job)
    state.load(tmp_path / LAST)
    assert is_over(job, state)
    assert len(run(job, state).history) == 2


def test_another_seed_gives_another_network(parts, tmp_path):
    first, second = (run(job_of(parts, tmp_path, epochs=1, seed=seed)) for seed in (0, 1))
    assert results(first) != results(second)


class Exploding(Body):
    """Its output is no number from the sixth batch on."""

    batches = 0

    def forward(self, images):
        self.batches += self.training
        return super().forward(images) * (math.nan if self.batches > 5 else 1.0)


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_epoch(parts, tmp_path):
    job = job_of(parts, tmp_path, learning_rate=0.3)
    state = begun(job, Exploding())
    with pytest.raises(TrainingError, match=r"loss is nan in epoch 2.*best.pt holds epoch 1. Try --learning-rate 0.1"):
        run(job, state)
    assert read_checkpoint(tmp_path / BEST)["epoch"] == 1
    assert all(value.isfinite().all() for value in read_checkpoint(tmp_path / LAST)["network"].values())


class Large(Body):
    """Needs more memory than there is for batches above a limit."""

    limit = 4

    def forward(self, images):
        if self.training and len(images) > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return super().forward(images)


def test_batch_is_halved_until_it_fits_in_memory(parts, tmp_path):
    job = job_of(parts, tmp_path, epochs=2, batch=16)
    state = run(job, begun(job, Large()))
    assert [epoch["batch"] for epoch in state.history] == [4, 4]
    assert state.batch == 4


def test_a_batch_of_two_that_does_not_fit_is_an_error(parts, tmp_path):
    job = job_of(parts, tmp_path)
    body = Large()
    body.limit = 1
    with pytest.raises(TrainingError, match="memory is too short for a batch of 3 images of 32 pixels"):
        run(job, begun(job, body))


def test_other_errors_of_torch_are_not_taken_for_short_memory(parts, tmp_path):
    class Broken(Body):
        def forward(self, images):
            raise RuntimeError("a bug")

    job = job_of(parts, tmp_path)
    with pytest.raises(RuntimeError, match="a bug"):
        run(job, begun(job, Broken()))


def test_training_stops_without_a_better_epoch(parts, tmp_path):
    job = job_of(parts, tmp_path, epochs=50, patience=3, learning_rate=1e-9)
    state = run(job)
    assert len(state.history) == state.best["epoch"] + 3 < 50


def test_a_test_part_never_chooses_the_epoch(parts, tmp_path):
    job = job_of(parts, tmp_path, epochs=6, patience=2, learning_rate=1e-9, selects=False)
    state = run(job)
    assert len(state.history) == 6
    assert load_best(tmp_path, state.average) == 6


def test_time_limits_the_training(parts, tmp_path):
    """A millisecond is over after one step, whatever the machine: the epoch ends there."""
    state = run(job_of(parts, tmp_path, epochs=1000, time_s=1e-3))
    assert len(state.history) == 1


def test_only_the_linear_layer_learns_at_first(parts, tmp_path):
    job = job_of(parts, tmp_path, epochs=2, head_first=0.5)
    state = begun(job)
    before = {name: value.clone() for name, value in state.network.state_dict().items()}
    seen = []
    run(job, state, on_epoch=lambda _: seen.append({k: v.clone() for k, v in state.network.state_dict().items()}))
    changed = [{name for name in before if not torch.equal(before[name], values[name])} for values in seen]
    assert {name for name in changed[0] if "features" in name} <= {  # its last step is the first of all
        name for name in before if "features" in name
    }
    assert "classifier.weight" in changed[0]
    assert "features.layers.0.weight" in changed[1]


def test_frozen_convolutions_stay_bit_for_bit(parts, tmp_path):
    job = job_of(parts, tmp_path, epochs=1, head_first=1.1)
    state = begun(job)
    before = {name: value.clone() for name, value in state.network.features.state_dict().items()}
    run(job, state)
    for name, value in state.network.features.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_learning_rate_rises_and_falls():
    recipe = Recipe(learning_rate=0.1, warm_up=0.2)
    rates = [learning_rate(recipe, share) for share in (0.0, 0.1, 0.2, 0.6, 1.0)]
    np.testing.assert_allclose(rates, [0.0, 0.05, 0.1, 0.05, 0.0], atol=1e-12)


def test_state_of_another_network_is_refused(parts, tmp_path):
    job = job_of(parts, tmp_path, epochs=1)
    run(job)
    other = new_state(GapCnn(nn.Conv2d(3, 8, 3), 8, 2), batch=2, weight_decay=0.0)
    with pytest.raises(ExportError, match="no state of this training"):
        other.load(tmp_path / LAST)
    (tmp_path / LAST).write_bytes(b"text")
    with pytest.raises(ExportError, match="damaged"):
        other.load(tmp_path / LAST)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("size", 16), ("epochs", 0), ("batch", 1), ("learning_rate", -1.0), ("time_s", 0.0), ("augment", "much")],
)
def test_settings_out_of_range_are_refused(setting, value):
    with pytest.raises(UsageError, match=setting.replace("_s", "").replace("_", "-")):
        Recipe(**{setting: value})
