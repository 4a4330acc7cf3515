"""`read_weights`: the weights of a network from checkpoints of every form, or one error that lists what differs."""

import argparse
import pathlib

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from camrt.errors import ExportError, UsageError
from camrt.export.checkpoint import read_weights


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.module = nn.Linear(4, 4)  # the name that DataParallel uses
        self.fc = nn.Linear(4, 2)


class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.network = Small()


class Lightning(nn.Module):
    """What a LightningModule's state dict holds: the network under a name, and a loss with weights."""

    def __init__(self, network):
        super().__init__()
        self.model = network
        self.criterion = nn.CrossEntropyLoss(weight=torch.ones(2))


def state(seed, prefix=""):
    torch.manual_seed(seed)
    return {prefix + name: value for name, value in Small().state_dict().items()}


def parts(weights):
    """A state dict for each part of the network, as some programs save it."""
    tops = dict.fromkeys(name.split(".")[0] for name in weights)
    return {top: {name.removeprefix(f"{top}."): value for name, value in weights.items() if name.startswith(f"{top}.")}
            for top in tops}  # fmt: skip


def optimizer():
    return {
        "state": {0: {"exp_avg": torch.zeros(4, 3, 3, 3), "step": torch.tensor(7.0)}},
        "param_groups": [{"lr": 0.1}],
    }


def trained_by_lightning():
    torch.manual_seed(1)
    return {"state_dict": Lightning(Small()).state_dict(), "optimizer_states": [optimizer()], "epoch": 3,
            "hyper_parameters": {"lr": 0.1}}  # fmt: skip


def with_the_command_line():
    """Torchvision's reference scripts and timm save their arguments; others save NumPy's best accuracy."""
    arguments = argparse.Namespace(lr=0.1, data=pathlib.PurePosixPath("data"))
    return {"model": state(1), "optimizer": optimizer(), "args": arguments, "best": np.float64(0.9)}


def without_counters():
    return {name: value for name, value in state(1).items() if "num_batches" not in name} | {
        "total_ops": torch.zeros(1),
        "body.0.total_params": torch.zeros(1),
    }


CHECKPOINTS = {
    "state dict": lambda: state(1),
    "state_dict": lambda: {"state_dict": state(1), "epoch": 3},
    "model_state_dict": lambda: {"model_state_dict": state(1), "optimizer_state_dict": optimizer()},
    "net": lambda: {"net": state(1), "acc": 90.0},
    "params": lambda: {"params": state(1)},
    "two levels": lambda: {"checkpoint": {"model": state(1)}, "epoch": 1},
    "DataParallel": lambda: {"model": state(1, "module.")},
    "torch.compile": lambda: state(1, "_orig_mod."),
    "compiled in DataParallel under a name": lambda: state(1, "net.module._orig_mod."),
    "a part that was compiled": lambda: {name.replace("body.", "body._orig_mod."): v for name, v in state(1).items()},
    "Lightning": trained_by_lightning,
    "compiled in Lightning": lambda: {"state_dict": state(1, "model._orig_mod.")},
    "several prefixes": lambda: state(1, "classifier.backbone.net."),
    "a dictionary for each part": lambda: {**parts(state(1)), "optimizer": optimizer()},
    "command line and NumPy numbers": with_the_command_line,
    "without counters": without_counters,
    "only EMA": lambda: {"state_dict_ema": state(1), "epoch": 2},
    "the same weights twice": lambda: {"model": state(1), "best_model": state(1)},
    "weights and EMA": lambda: {"model": state(1), "model_ema": state(2, "module."), "epoch": 2},
    "state_dict and state_dict_ema": lambda: {"state_dict_ema": state(2), "state_dict": state(1)},
    "params and params_ema": lambda: {"params_ema": state(2), "params": state(1)},
    "EMA beside the network": lambda: {"state_dict": {**state(1, "model."), **state(2, "ema_model.module."),
                                                      "ema_model.n_averaged": torch.tensor(3)}},
}  # fmt: skip


def assert_loaded(weights, expected):
    network = Small()
    network.load_state_dict({**network.state_dict(), **weights.tensors})
    for name, value in network.state_dict().items():
        if "num_batches" not in name:
            assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize("form", CHECKPOINTS)
@pytest.mark.input_kind(
    "model", "checkpoint: prefixes, Lightning, torch.compile, nested, EMA", "torch's load_state_dict", "equal weights"
)
def test_checkpoint_of_each_form_is_read(form, tmp_path):
    torch.save(CHECKPOINTS[form](), tmp_path / "weights.pt")
    weights = read_weights(tmp_path / "weights.pt", Small())
    assert_loaded(weights, state(1))
    if "EMA" in form or "ema" in form:
        assert any("averages" in text or "it also has" in text for text in weights.remarks)
    if form == "Lightning":
        assert weights.remarks == ("1 tensor(s) of weights.pt belong to other parts and are not used.",)


@pytest.mark.parametrize("prefix", ["", "model."])
@pytest.mark.input_kind("model", "safetensors", "safetensors", "equal weights")
def test_safetensors_are_read(prefix, tmp_path):
    safetensors.torch.save_file(state(1, prefix), tmp_path / "weights.safetensors")
    assert_loaded(read_weights(tmp_path / "weights.safetensors", Small()), state(1))
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "weights.safetensors").read_bytes()[:-9])
    with pytest.raises(ExportError, match=r"cut\.safetensors is no safetensors file, or it is truncated"):
        read_weights(tmp_path / "cut.safetensors", Small())


def test_weights_of_the_inner_network_fit_a_wrapper(tmp_path):
    torch.save(state(1), tmp_path / "weights.pt")
    network = Wrapped()
    network.load_state_dict(read_weights(tmp_path / "weights.pt", network).tensors)
    assert torch.equal(network.network.fc.weight, state(1)["fc.weight"])


@pytest.mark.parametrize(
    ("form", "name", "seed"),
    [("weights and EMA", "ema", 2), ("weights and EMA", "model", 1), ("EMA beside the network", "ema", 2)],
)
def test_weights_are_chosen_by_their_name(form, name, seed, tmp_path):
    torch.save(CHECKPOINTS[form](), tmp_path / "weights.pt")
    assert_loaded(read_weights(tmp_path / "weights.pt", Small(), name), state(seed))
    with pytest.raises(ExportError, match=r"no weights 'teacher' that fit; it has: .*model"):
        read_weights(tmp_path / "weights.pt", Small(), "teacher")


def test_several_weights_need_a_choice(tmp_path):
    torch.save({**state(1, "student."), **state(2, "teacher.")}, tmp_path / "weights.pt")
    with pytest.raises(ExportError, match="several weights that fit: student, teacher; choose with --weights"):
        read_weights(tmp_path / "weights.pt", Small())
    assert_loaded(read_weights(tmp_path / "weights.pt", Small(), "teacher"), state(2))


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        ({k: v for k, v in state(1).items() if k != "fc.bias"}, "1 missing: fc.bias"),
        ({**state(1), "extra": torch.zeros(1)}, "1 unknown to the network: extra"),
        (
            {"state_dict": {**state(1, "model."), "model.fc.bias": torch.zeros(5)}},
            r"under 'state_dict.model'.*1 of another shape: fc.bias \(5 in the file, 2 in the network\)",
        ),
        ({"epoch": 3}, "the keys epoch, not a state dict"),
        ([1, 2], "no dictionary"),
        ({"a.b": torch.zeros(2)}, "no name of its weights .a.b"),
    ],
)
def test_checkpoint_that_does_not_fit_is_refused_with_the_differences(checkpoint, message, tmp_path):
    torch.save(checkpoint, tmp_path / "weights.pt")
    with pytest.raises(ExportError, match=rf"weights\.pt.*{message}"):
        read_weights(tmp_path / "weights.pt", Small())


def test_pickled_module_is_refused_without_running_its_code(tmp_path):
    torch.save(Small(), tmp_path / "weights.pt")
    with pytest.raises(ExportError, match=r"without running code from it \(it holds objects of .*Small\)"):
        read_weights(tmp_path / "weights.pt", Small())


def test_missing_or_damaged_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"none\.pt cannot be read: No such file"):
        read_weights(tmp_path / "none.pt", Small())
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "empty.pt").write_bytes(b"")
    torch.save(state(1), tmp_path / "whole.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:-500])
    for name, kind in (("text", ": it is a text file"), ("empty", ": it is empty"), ("cut", ", or it is damaged")):
        with pytest.raises(ExportError, match=rf"{name}\.pt is no checkpoint of torch{kind}; save the weights"):
            read_weights(tmp_path / f"{name}.pt", Small())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensor: tensor.to_sparse(), "is sparse"),
        (lambda tensor: tensor.to_sparse_csr(), "is sparse"),
        (lambda tensor: tensor.to("meta"), "has a shape but no numbers"),
        (lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8), "is quantized"),
        (lambda tensor: tensor.to(torch.complex64), "is complex"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_tensor_that_no_network_runs_with_is_refused_by_name(change, message, tmp_path):
    weights = state(1)
    weights["fc.weight"] = change(weights["fc.weight"])
    torch.save({"state_dict": weights}, tmp_path / "weights.pt")
    with pytest.raises(ExportError, match=rf"weights\.pt: state_dict\.fc\.weight {message}"):
        read_weights(tmp_path / "weights.pt", Small())
