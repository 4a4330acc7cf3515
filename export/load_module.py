"""Load a torch module by its name, and its weights from a checkpoint."""

import importlib
import sys
from pathlib import Path
from typing import Any

import torch

from camrt.errors import ExportError, UsageError
from camrt.export.checkpoint import read_weights


def load_module(
    reference: str, checkpoint: Path | None, weights: str | None = None
) -> tuple[torch.nn.Module, tuple[str, ...]]:
    """Return the module that ``package.module:factory`` names, and remarks about its weights.

    Args:
        reference: names a module, or a class or function without arguments that returns one. The current folder is
            importable.
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


def _import_module(reference: str) -> torch.nn.Module:
    path, colon, attribute = reference.partition(":")
    if not (path and colon and attribute):
        raise UsageError(f"{reference!r} must have the form package.module:factory")
    if (folder := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, folder)
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
