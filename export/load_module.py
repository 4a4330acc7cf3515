"""A torch module by its name, with the weights of a checkpoint: what the command line has to start from."""

import importlib
import pickle
import sys
from pathlib import Path
from typing import Any

import torch

from camrt.errors import ExportError, UsageError

NESTS = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts keep a network's weights beside the optimizer's."""
WRAPPER = "module."
"""What DataParallel puts before each name."""


def load_module(reference: str, checkpoint: Path | None) -> torch.nn.Module:
    """Make the module that ``package.module:factory`` names.

    Args:
        reference: where to find a module, or a class or function that gives one when it is called without arguments;
            the current folder is importable.
        checkpoint: a state dict, or a checkpoint that holds one; read without running code from it.

    Raises:
        UsageError: the reference names nothing of that kind.
        ExportError: the code behind it fails, or the checkpoint does not fit.
    """
    module = _make(reference)
    if checkpoint is not None:
        _load_weights(module, read_state_dict(checkpoint), checkpoint)
    return module


def read_state_dict(checkpoint: Path) -> dict[str, torch.Tensor]:
    """Return the network's weights in a checkpoint, by their names in the network. Raises: ExportError."""
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ExportError(f"{checkpoint} cannot be read: {error.strerror}") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ExportError(
            f"{checkpoint} is no checkpoint that can be read without running code from it; save the weights with "
            "torch.save(module.state_dict(), path)"
        ) from error
    for key in NESTS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not content or not all(torch.is_tensor(value) for value in content.values()):
        held = f"the keys {', '.join(map(str, list(content)[:5]))}" if isinstance(content, dict) else "no dictionary"
        raise ExportError(f"{checkpoint} holds {held}, not a state dict; known nestings: {', '.join(NESTS)}")
    if all(name.startswith(WRAPPER) for name in content):
        return {name.removeprefix(WRAPPER): value for name, value in content.items()}
    return dict(content)


def _make(reference: str) -> torch.nn.Module:
    path, colon, attribute = reference.partition(":")
    if not (path and colon and attribute):
        raise UsageError(f"{reference!r} is not of the form package.module:factory")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(path)
        for name in attribute.split("."):
            found = getattr(found, name)
        module = found if isinstance(found, torch.nn.Module) else found()
    except (ModuleNotFoundError, AttributeError) as error:
        raise UsageError(f"{reference}: {error}") from error
    except Exception as error:  # the user's own code may raise anything
        raise ExportError(f"{reference} fails without arguments: {type(error).__name__}: {error}") from error
    if not isinstance(module, torch.nn.Module):
        raise UsageError(f"{reference} gives a {type(module).__name__}, not a torch.nn.Module")
    return module


def _load_weights(module: torch.nn.Module, weights: dict[str, torch.Tensor], checkpoint: Path) -> None:
    own = module.state_dict()
    problems = [
        f"{what} {', '.join(names[:3])}{' ...' if len(names) > 3 else ''} ({len(names)} of them)"
        for what, names in (
            ("it lacks", [name for name in own if name not in weights]),
            ("the network has no", [name for name in weights if name not in own]),
            (
                "of another shape are",
                [name for name in own if name in weights and own[name].shape != weights[name].shape],
            ),
        )
        if names
    ]
    if problems:
        raise ExportError(f"{checkpoint} does not fit {type(module).__name__}: {'; '.join(problems)}")
    module.load_state_dict(weights)
