"""Load a torch module by its name, and its weights from a checkpoint."""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from camrt.errors import ExportError, UsageError
from camrt.export.checkpoint import read_weights


def load_module(
    reference: str, checkpoint: Path | None, weights: str | None = None
) -> tuple[torch.nn.Module, tuple[str, ...]]:
    """Return the module that ``package.module:factory`` names, and remarks about its weights.

    Args:
        reference: names a module, or a class or function without arguments that returns one. It may be in the current
            folder, and modules there may import each other; no library imports anything from there.
        checkpoint: holds the weights; see `camrt.export.checkpoint.read_weights`.
        weights: the name of the weights, in a checkpoint with several.

    Raises:
        UsageError: the reference names no torch module, or ``weights`` has no checkpoint.
        ExportError: the referenced code fails, or the checkpoint does not fit.
        MissingExtra: the checkpoint needs safetensors.
    """
    if weights is not None and checkpoint is None:
        raise UsageError(f"--weights {weights} needs --checkpoint FILE")
    module = _import_module(reference)
    if checkpoint is None:
        return module, ()
    found = read_weights(checkpoint, module, weights)
    module.load_state_dict({**module.state_dict(), **found.tensors})
    return module, found.remarks


class _FolderFinder(MetaPathFinder):
    """Finds modules of a folder that is not on the path.

    With the folder on the path, a ``json.py`` in it would run in place of the library's.

    Args:
        folder: the folder.
        name: the only module or package to find; None: those that code of the folder imports.
    """

    def __init__(self, folder: Path, name: str | None) -> None:
        self._folder = str(folder)
        self._name = name

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        if path is not None:  # a part of a package that was found already
            return None
        wanted = Path(_importing_file()).is_relative_to(self._folder) if self._name is None else fullname == self._name
        return PathFinder.find_spec(fullname, [self._folder]) if wanted else None


def _importing_file() -> str:
    """Return the file of the code that imports a module at the moment; empty if it has none."""
    frame = sys._getframe(2)
    while frame.f_back is not None and "importlib" in frame.f_code.co_filename:
        frame = frame.f_back
    return str(frame.f_globals.get("__file__", ""))


def _import_module(reference: str) -> torch.nn.Module:
    path, colon, attribute = reference.partition(":")
    if not (path and colon and attribute):
        raise UsageError(f"{reference!r} must have the form package.module:factory")
    folder = Path.cwd()
    sys.meta_path.insert(0, _FolderFinder(folder, path.partition(".")[0]))
    sys.meta_path.append(_FolderFinder(folder, None))  # after the libraries
    try:
        value: Any = importlib.import_module(path)
        for name in attribute.split("."):
            value = getattr(value, name)
        module = value if isinstance(value, torch.nn.Module) else value()
    except (ModuleNotFoundError, AttributeError) as error:
        raise UsageError(f"{reference}: {error}") from error
    except Exception as error:  # the user's own code may raise anything
        raise ExportError(
            f"{reference} fails when called without arguments: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(module, torch.nn.Module):
        raise UsageError(f"{reference} returns a {type(module).__name__}, not a torch.nn.Module")
    return module
