"""Read a network's weights from a checkpoint, however the training program wrapped and nested them."""

import argparse
import pathlib
import pickle
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from camrt.errors import ExportError, MissingExtra, MissingInput
from camrt.export.error_text import first_line
from camrt.file_kind import UNKNOWN, kind_of

Tensors = dict[str, torch.Tensor]

WRAPPERS: Final = frozenset({"module", "_orig_mod"})
"""Parts of names that DataParallel and torch.compile add."""
NO_WEIGHTS: Final = ("num_batches_tracked", "total_ops", "total_params", "n_averaged")
"""Last parts of names of counters, which change no score."""
_AVERAGED: Final = re.compile(r"(^|[._ -])(ema|swa|averaged?)([._ -]|$)", re.IGNORECASE)
"""Names of weights that are averages over the training."""
_MAX_DEPTH: Final = 5
"""Levels of nested dictionaries that are searched."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights that fit a network."""

    tensors: Tensors
    """By their names in the network."""
    remarks: tuple[str, ...]
    """Sentences about the choice, and about entries that are not used."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """Entries of a checkpoint under one name, beside the entries of a network."""

    label: str
    """Keys and prefix of the entries in the checkpoint; empty: the checkpoint is a plain state dict."""
    tensors: Tensors
    """By their names in the network."""
    missing: Sequence[str]
    unknown: Sequence[str]
    """Entries of the same part of the checkpoint that the network does not have."""
    reshaped: Sequence[str]
    """Names, with both shapes."""
    unused: int
    """Number of tensors beside them, under other prefixes."""

    @property
    def fits(self) -> bool:
        return not (self.missing or self.unknown or self.reshaped)

    @property
    def is_averaged(self) -> bool:
        return _AVERAGED.search(self.label) is not None


def read_weights(checkpoint: Path, network: torch.nn.Module, name: str | None = None) -> Weights:
    """Return the weights in a checkpoint that fit a network.

    Args:
        checkpoint: a file of torch.save or safetensors. It is read with ``weights_only``, so no code in it runs.
        network: the network.
        name: of the weights, in a checkpoint with several (``ema``, ``teacher``); None: those that are no average.

    Raises:
        ExportError: the file cannot be read, holds no weights, or none that fit.
        UsageError: there is no such file.
        MissingExtra: the file needs safetensors.
    """
    content = _read(checkpoint)
    sets = [(path, entries) for path, entries in _tensor_sets(content) if entries]
    if not sets:
        kind = f"the keys {', '.join(map(str, list(content)[:5]))}" if isinstance(content, Mapping) else "no dictionary"
        raise ExportError(
            f"{checkpoint} holds {kind}, not a state dict; save the weights with torch.save(module.state_dict(), path)"
        )
    _check_tensors(checkpoint, sets)
    expected = network.state_dict()
    candidates = [entry for path, entries in sets for entry in _candidates(path, entries, expected)]
    fitting = _without_copies([candidate for candidate in candidates if candidate.fits])
    if not fitting:
        raise ExportError(_mismatch(checkpoint, type(network).__name__, candidates, sets))
    chosen = _choose(checkpoint, fitting, name)
    return Weights(chosen.tensors, tuple(_remarks(checkpoint, chosen, fitting)))


def _read(checkpoint: Path) -> Any:
    if checkpoint.suffix == ".safetensors":
        return _read_safetensors(checkpoint)
    # Training programs keep their command line and their best accuracy beside the weights; these types hold data only.
    scalar = np._core.multiarray.scalar  # type: ignore[attr-defined]
    harmless = [argparse.Namespace, pathlib.PosixPath, pathlib.PurePosixPath, np.dtype, np.ndarray, scalar,
                (scalar, "numpy.core.multiarray.scalar"),  # the name that NumPy 1 wrote
                *(entry for entry in vars(np.dtypes).values() if isinstance(entry, type))]  # fmt: skip
    try:
        with torch.serialization.safe_globals(harmless), warnings.catch_warnings(action="ignore"):
            return torch.load(checkpoint, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise MissingInput(f"{checkpoint} cannot be read: {error.strerror}") from error
    except OSError as error:
        raise ExportError(f"{checkpoint} cannot be read: {error.strerror}") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError) as error:
        found = sorted(set(re.findall(r"GLOBAL ([\w.]+)", str(error))))
        kind = kind_of(checkpoint)
        if found:
            problem = f"cannot be read without running code from it (it holds objects of {', '.join(found)})"
        elif kind is UNKNOWN or kind.may_be_checkpoint:
            problem = "is no checkpoint of torch, or it is damaged"
        else:
            problem = f"is no checkpoint of torch: {kind.sentence}"
        raise ExportError(
            f"{checkpoint} {problem}; save the weights with torch.save(module.state_dict(), path)"
        ) from error


def _read_safetensors(checkpoint: Path) -> Any:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise MissingExtra(f"{checkpoint} needs safetensors: pip install 'camrt[export]'") from error
    try:
        return load_file(checkpoint)
    except FileNotFoundError as error:
        raise MissingInput(f"{checkpoint} cannot be read: No such file or directory") from error
    except OSError as error:
        raise ExportError(f"{checkpoint} cannot be read: {error.strerror or first_line(error)}") from error
    except SafetensorError as error:
        raise ExportError(
            f"{checkpoint} is no safetensors file, or it is truncated ({first_line(error)}); copy it again"
        ) from error


def _check_tensors(checkpoint: Path, sets: Sequence[tuple[tuple[str, ...], Tensors]]) -> None:
    """Refuse tensors that no network can be run with. Raises: ExportError."""
    for path, entries in sets:
        for name, tensor in entries.items():
            if tensor.is_meta:
                problem = "has a shape but no numbers (device meta); load the weights before you save them"
            elif tensor.layout != torch.strided:
                problem = "is sparse; save it with .to_dense()"
            elif tensor.is_quantized:
                problem = "is quantized; save it with .dequantize(), or export the network before it is quantized"
            elif tensor.is_complex():
                problem = "is complex; networks for images have real weights"
            else:
                continue
            raise ExportError(f"{checkpoint}: {'.'.join((*path, name))} {problem}")


def _tensor_sets(content: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Tensors]]:
    """Yield the tensors of each dictionary at any depth, with the keys that lead to it.

    A dictionary of dictionaries counts as one set too: some programs save a state dict for each part of a network.
    """
    if not isinstance(content, Mapping) or len(path) > _MAX_DEPTH:
        return
    entries = {str(key): value for key, value in content.items()}
    direct = {key: value for key, value in entries.items() if torch.is_tensor(value)}
    parts = {key: value for key, value in entries.items() if isinstance(value, Mapping)}
    yield path, direct
    if not direct and len(parts) > 1:
        yield path, {f"{key}.{name}": value for key, part in parts.items() for name, value in part.items()
                     if torch.is_tensor(value)}  # fmt: skip
    for key, part in parts.items():
        yield from _tensor_sets(part, (*path, key))


def _candidates(path: tuple[str, ...], entries: Tensors, expected: Tensors) -> Iterator[_Candidate]:
    """Yield a candidate for each prefix under which a set has names of the network."""
    plain = {_strip(name): value for name, value in entries.items()}
    names = {_strip(name): name for name in expected}
    for outer in _common_prefixes(list(names)):  # of the network: the checkpoint may be of a part of it
        wanted = {name.removeprefix(outer): full for name, full in names.items()}
        for prefix in _prefixes(plain, wanted):
            under = {key.removeprefix(prefix): value for key, value in plain.items() if key.startswith(prefix)}
            tensors = {full: under[name] for name, full in wanted.items() if name in under}
            yield _Candidate(
                label=".".join([*path, prefix.rstrip(".")]).strip("."),
                tensors=tensors,
                missing=[full for full in wanted.values() if full not in tensors and not _is_counter(full)],
                unknown=[name for name in under if name not in wanted and not _is_counter(name)],
                reshaped=[
                    f"{full} ({_shape(value)} in the file, {_shape(expected[full])} in the network)"
                    for full, value in tensors.items()
                    if value.shape != expected[full].shape
                ],
                unused=len(plain) - len(under),
            )


def _prefixes(plain: Tensors, wanted: Mapping[str, str]) -> list[str]:
    """Return the prefixes under which most of the wanted names are found; none where no name is."""
    counts: Counter[str] = Counter()
    for key in plain:
        parts = key.split(".")
        for index in range(len(parts)):
            if ".".join(parts[index:]) in wanted:
                counts["".join(f"{part}." for part in parts[:index])] += 1
    most = max(counts.values(), default=0)
    return [prefix for prefix, count in counts.items() if count == most]


def _common_prefixes(names: Sequence[str]) -> list[str]:
    """Return "", and each dotted prefix that all names share."""
    prefixes, parts = [""], names[0].split(".")[:-1] if names else []
    for part in parts:
        longer = f"{prefixes[-1]}{part}."
        if not all(name.startswith(longer) for name in names):
            break
        prefixes.append(longer)
    return prefixes


def _strip(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _is_counter(name: str) -> bool:
    return name.rsplit(".", 1)[-1] in NO_WEIGHTS


def _without_copies(candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """Keep one of several candidates with the same numbers."""
    kept: list[_Candidate] = []
    for candidate in candidates:
        if not any(
            all(torch.equal(value, other.tensors[name]) for name, value in candidate.tensors.items())
            for other in kept
            if other.tensors.keys() == candidate.tensors.keys()
        ):
            kept.append(candidate)
    return kept


def _choose(checkpoint: Path, fitting: Sequence[_Candidate], name: str | None) -> _Candidate:
    """Return the weights that were asked for, or the only ones that are no average. Raises: ExportError."""
    labels = ", ".join(candidate.label or "(the whole file)" for candidate in fitting)
    if name is not None:
        exact = [candidate for candidate in fitting if candidate.label == name]
        chosen = exact or [candidate for candidate in fitting if name in re.split(r"[._]", candidate.label)]
        if len(chosen) == 1:
            return chosen[0]
        problem = "has no weights" if not chosen else "has several weights"
        raise ExportError(f"{checkpoint} {problem} {name!r} that fit; it has: {labels}")
    chosen = [candidate for candidate in fitting if not candidate.is_averaged] or list(fitting)
    if len(chosen) == 1:
        return chosen[0]
    raise ExportError(f"{checkpoint} holds several weights that fit: {labels}; choose with --weights NAME")


def _remarks(checkpoint: Path, chosen: _Candidate, fitting: Sequence[_Candidate]) -> Iterator[str]:
    others = [candidate.label or "the whole file" for candidate in fitting if candidate is not chosen]
    if others:
        yield f"The weights are {chosen.label!r} of {checkpoint.name}; it also has {', '.join(others)} (--weights)."
    elif chosen.is_averaged:
        yield f"The weights are {chosen.label!r} of {checkpoint.name}, averages over the training: it has no others."
    if chosen.unused > 0:
        yield f"{chosen.unused} tensor(s) of {checkpoint.name} belong to other parts and are not used."


def _mismatch(
    checkpoint: Path, network: str, candidates: Sequence[_Candidate], sets: Sequence[tuple[tuple[str, ...], Tensors]]
) -> str:
    """Return the error for a checkpoint without fitting weights: the differences to the nearest."""
    if not candidates:
        largest = max((list(entries) for _, entries in sets), key=len)
        found = ", ".join(largest[:3])
        return (
            f"{checkpoint} does not fit {network}: no name of its weights ({found} ...) is one of the network's; pass "
            "that network's checkpoint"
        )
    nearest = max(candidates, key=lambda entry: len(entry.tensors) - len(entry.reshaped) - len(entry.unknown))
    problems = {
        "missing": nearest.missing,
        "unknown to the network": nearest.unknown,
        "of another shape": nearest.reshaped,
    }
    details = "; ".join(
        f"{len(names)} {problem}: {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}"
        for problem, names in problems.items()
        if names
    )
    where = f" (under {nearest.label!r})" if nearest.label else ""
    return f"{checkpoint}{where} does not fit {network}: {details}; pass that network's checkpoint"


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "one number"
