"""`load_module`: a module by its name, and its weights from a checkpoint."""

import sys

import pytest
import torch

from camrt.errors import ExportError, UsageError
from camrt.export.load_module import load_module

SOURCE = """
import torch

network = torch.nn.Linear(3, 2)


def make():
    return torch.nn.Linear(3, 2)


def fail():
    raise OSError("no data")


def number():
    return 7
"""


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """The name of a module that is importable from the current folder."""
    folder = tmp_path_factory.mktemp("networks")
    (folder / "networks_to_load.py").write_text(SOURCE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("sys.path", [*sys.path])
        load_module("networks_to_load:network", None)  # puts the folder on the path
        yield "networks_to_load"


def state(factor=1.0):
    return {"weight": torch.full((2, 3), factor), "bias": torch.zeros(2)}


@pytest.mark.parametrize("attribute", ["network", "make"])
def test_reference_names_a_module_or_a_function_that_returns_one(attribute, networks):
    assert isinstance(load_module(f"{networks}:{attribute}", None), torch.nn.Linear)


@pytest.mark.parametrize(
    "checkpoint",
    [
        state(),
        {"state_dict": state(), "epoch": 3},
        {"model_state_dict": state()},
        {"model": {f"module.{name}": value for name, value in state().items()}},
    ],
    ids=["state dict", "Lightning", "model_state_dict", "DataParallel"],
)
def test_checkpoint_of_each_form_is_loaded(checkpoint, networks, tmp_path):
    torch.save(checkpoint, tmp_path / "weights.pt")
    module = load_module(f"{networks}:make", tmp_path / "weights.pt")
    assert torch.equal(module.weight, torch.ones(2, 3))


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        ({"weight": torch.zeros(2, 3)}, "1 missing: bias"),
        ({**state(), "extra": torch.zeros(1)}, "1 unknown to the network: extra"),
        ({**state(), "bias": torch.zeros(5)}, "1 of another shape: bias"),
        ({"epoch": 3}, "the keys epoch, not a state dict"),
        ([1, 2], "no dictionary"),
    ],
)
def test_checkpoint_that_does_not_fit_is_refused(checkpoint, message, networks, tmp_path):
    torch.save(checkpoint, tmp_path / "weights.pt")
    with pytest.raises(ExportError, match=rf"weights\.pt .*{message}"):
        load_module(f"{networks}:make", tmp_path / "weights.pt")


@pytest.mark.parametrize(
    ("reference", "error", "message"),
    [
        ("networks_to_load", UsageError, "must have the form package.module:factory"),
        ("networks_to_load:none", UsageError, "has no attribute 'none'"),
        ("no_such_module_anywhere:make", UsageError, "No module named"),
        ("networks_to_load:fail", ExportError, "fails when called without arguments: OSError: no data"),
        ("networks_to_load:number", UsageError, "returns a int, not a torch.nn.Module"),
    ],
)
def test_reference_without_a_module_is_refused(reference, error, message, networks):
    with pytest.raises(error, match=message):
        load_module(reference, None)
