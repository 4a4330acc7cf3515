"""`load_module`: a module by its name, and its weights from a checkpoint."""

import importlib

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
        yield "networks_to_load"


@pytest.mark.parametrize("attribute", ["network", "make"])
def test_reference_names_a_module_or_a_function_that_returns_one(attribute, networks):
    module, remarks = load_module(f"{networks}:{attribute}", None)
    assert isinstance(module, torch.nn.Linear)
    assert remarks == ()


def test_weights_of_the_checkpoint_are_loaded(networks, tmp_path):
    torch.save({"weight": torch.ones(2, 3), "bias": torch.zeros(2)}, tmp_path / "weights.pt")
    module, _ = load_module(f"{networks}:make", tmp_path / "weights.pt")
    assert torch.equal(module.weight, torch.ones(2, 3))
    with pytest.raises(UsageError, match="--weights ema needs --checkpoint"):
        load_module(f"{networks}:make", None, "ema")


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


def test_no_library_is_replaced_by_a_file_of_the_current_folder(tmp_path, monkeypatch):
    ran = tmp_path / "ran"
    for name in ("json", "colorsys", "a_library_that_is_not_installed"):
        (tmp_path / f"{name}.py").write_text(f"open({str(ran)!r}, 'a').write({name!r})")
    (tmp_path / "layers.py").write_text("import colorsys\nimport torch\nLinear = torch.nn.Linear\n")
    (tmp_path / "late.py").write_text("")
    (tmp_path / "package_here").mkdir()
    (tmp_path / "package_here" / "__init__.py").write_text("")
    (tmp_path / "package_here" / "parts.py").write_text("from layers import Linear\n")
    (tmp_path / "package_here" / "nets.py").write_text(
        "import layers\nfrom package_here.parts import Linear\ndef make():\n    import late\n    return Linear(3, 2)\n"
    )
    monkeypatch.chdir(tmp_path)
    module, _ = load_module("package_here.nets:make", None)
    assert isinstance(module, torch.nn.Linear)
    with pytest.raises(ImportError):
        importlib.import_module("a_library_that_is_not_installed")
    assert not ran.exists()
