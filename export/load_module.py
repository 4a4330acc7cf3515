"""Load a torch module by its name, and its weights from a checkpoint."""

import importlib
import pickle
import sys
from pathlib import Path
from typing import Any

import torch

from camrt.errors import ExportError, MissingInput, UsageError

STATE_DICT_KEYS = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts save a network's weights beside the optimizer's."""
DATA_PARALLEL_PREFIX = "module."
"""DataParallel puts it before each name."""


def load_module(reference: str, checkpoint: Path | None) -> torch.nn.Module:
    """Return the module that ``package.module:factory`` names.

    Args:
        reference: names a module, or a class or function without arguments that returns one. The current folder is
            importable.
        checkpoint: a state dict, or a checkpoint that holds one; no code in it runs.

    Raises:
        UsageError: the reference names no torch module.
        ExportError: the referenced code fails, or the checkpoint does not fit.
    """
    module = _import_module(reference)
    if checkpoint is not None:
        _load_weights(module, read_state_dict(checkpoint), checkpoint)
    return module


def read_state_dict(checkpoint: Path) -> dict[str, torch.Tensor]:
    """Return the weights in a checkpoint by their names in the network. Raises: ExportError."""
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise MissingInput(f"{checkpoint} cannot be read: {error.strerror}") from error
    except OSError as error:
        raise ExportError(f"{checkpoint} cannot be read: {error.strerror}") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ExportError(
            f"{checkpoint} cannot be read without running code from it; save the weights with "
            "torch.save(module.state_dict(), path)"
        ) from error
    for key in STATE_DICT_KEYS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not content or not all(torch.is_tensor(value) for value in content.values()):
        kind = f"the keys {', '.join(map(str, list(content)[:5]))}" if isinstance(content, dict) else "no dictionary"
        raise ExportError(
            f"{checkpoint} holds {kind}, not a state dict; save one, alone or under one of these keys: "
            f"{', '.join(STATE_DICT_KEYS)}"
        )
    if all(name.startswith(DATA_PARALLEL_PREFIX) for name in content):
        return {name.removeprefix(DATA_PARALLEL_PREFIX): value for name, value in content.items()}
    return dict(content)


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


def _load_weights(module: torch.nn.Module, weights: dict[str, torch.Tensor], checkpoint: Path) -> None:
    expected = module.state_dict()
    common = [name for name in expected if name in weights]
    problems = {
        "missing": [name for name in expected if name not in weights],
        "unknown to the network": [name for name in weights if name not in expected],
        "of another shape": [name for name in common if expected[name].shape != weights[name].shape],
    }
    if any(problems.values()):
        details = "; ".join(
            f"{len(names)} {problem}: {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}"
            for problem, names in problems.items()
            if names
        )
        raise ExportError(
            f"{checkpoint} does not fit {type(module).__name__}: {details}; pass that network's checkpoint"
        )
    module.load_state_dict(weights)
