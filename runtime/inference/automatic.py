"""Provider ``auto``: the fastest provider that gives the maps of the CPU, measured once for each model file."""

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol, TypeVar

import numpy as np

from camrt import kernels
from camrt.errors import ProviderError, SinkError
from camrt.files import file_sha256, write_file
from camrt.images import Image
from camrt.interleaved_timing import interleave
from camrt.runtime.inference.plugins import PLUGINS
from camrt.runtime.inference.providers import onnxruntime
from camrt.runtime.inference.session import is_installed
from camrt.runtime.maps.result import Result
from camrt.synthetic_scene import FRAMES_PER_ACT, Scene

AUTO: Final = ("cuda", "coreml", "openvino", "cpu")
"""Providers that ``auto`` considers. Not among them: TensorRT's, which build an engine before the first frame, and
those that camrt has never run on a device."""
LARGEST_DIFFERENCE: Final = 0.01
"""A provider keeps the maps if logits and maps differ from the CPU's by at most this share of the largest value. TF32
changes logits by 2e-4 to 6e-4; CUDA changes those of an int8 file by 8e-2."""
_WORTHWHILE: Final = 1.1
"""A provider replaces the CPU if it is at least this much faster; less is noise."""
_IMAGES, _TURN, _ROUNDS, _FEWEST, _SECONDS = 4, 4, 15, 3, 1.0
_FILE: Final = "camrt-auto.json"
_MOST_CHOICES: Final = 100


class Classifier(Protocol):
    """A model as this module uses it."""

    precision: str

    def __call__(self, frames: Image) -> Result:
        """Classify a frame."""


Opened = TypeVar("Opened", bound=Classifier)


def open_fastest(
    path: Path, threads: int, head: str | None, open_named: Callable[[str], Opened]
) -> tuple[Opened, list[str]]:
    """Open a model file with the fastest provider that gives the maps of the CPU.

    If several providers run the file, they are measured. The choice is kept beside the compiled kernels until the
    file, the machine or a version changes.

    Args:
        path: the file.
        threads: threads of one operator on the CPU.
        head: of a file with several: the head to compute; None: the first.
        open_named: opens the file with a provider that the argument names.

    Returns: the model, and remarks: why a provider was chosen, and why others do not run.

    Raises:
        ProviderError: no provider runs the file.
    """
    runtime = onnxruntime()
    names = [name for name in AUTO if is_installed(runtime, name)]
    folder = kernels.cache_folder()
    store = Path(folder) / _FILE if folder else None
    key = _key(path, threads, head, _versions(runtime, names)) if len(names) > 1 else ""
    if key and store and (choice := recall(store, key)) and choice["provider"] in names:
        with suppress(ProviderError):  # it does not run any more
            return open_named(choice["provider"]), [choice["remark"]]
    models: dict[str, Opened] = {}
    skipped = []
    for name in names:
        try:
            models[name] = open_named(name)
        except ProviderError as error:
            skipped.append(str(error))
    if not models:
        raise ProviderError(f"no provider of this ONNX Runtime runs {path}: {'; '.join(skipped)}")
    if len(models) == 1:
        return next(iter(models.values())), skipped
    choice = choose(models)
    if store and not skipped:
        remember(store, key, choice)
    return models[choice["provider"]], [*skipped, choice["remark"]]


def choose(models: Mapping[str, Classifier]) -> dict[str, Any]:
    """Measure models of one file with different providers, one of which is the CPU.

    Returns: ``provider``, the fastest that keeps the maps, and ``remark``, a sentence with times and differences.
    """
    scene = Scene(seed=0)
    images = [scene.view(act * FRAMES_PER_ACT).image for act in range(_IMAGES)]
    differences = {name: difference(model, models["cpu"], images) for name, model in models.items()}
    calls = {name: partial(model, images[0]) for name, model in models.items()}
    once_s = sum(times[0] for times in interleave(calls, 1, turn=2).values())
    rounds = min(_ROUNDS, max(_FEWEST, round(_SECONDS / (_TURN * max(once_s, 1e-6)))))
    # The shortest time of each: other programs only add to it.
    ms = {name: 1e3 * min(times) for name, times in interleave(calls, rounds, turn=_TURN).items()}
    kept = [name for name in models if differences[name] <= LARGEST_DIFFERENCE]
    provider = min(kept, key=lambda name: ms[name] * (1.0 if name == "cpu" else _WORTHWHILE))
    parts = []
    for name in sorted(models, key=lambda name: name != provider):
        changes = f" and changes the maps or logits of this {models[name].precision} file by {differences[name]:.1%}"
        took = f"{name!r} takes {ms[name]:.2f} ms a frame"
        parts.append(took if name in kept else took + changes)
    return {"provider": provider, "remark": f"provider 'auto' chose {provider!r}: {'; '.join(parts)}"}


def difference(model: Classifier, reference: Classifier, images: Sequence[Image]) -> float:
    """Return how much logits and maps differ from those of another model, as a share of the largest absolute value.

    The maps are those of the classes that the reference ranks first. The largest difference of all images counts.
    """
    largest = 0.0
    for given, wanted in zip(map(model, images), map(reference, images), strict=True):
        class_id = wanted.top(1)[0][0]
        for values, expected in ((given.logits, wanted.logits), (given.cam(class_id), wanted.cam(class_id))):
            gap, scale = float(np.abs(values - expected).max()), float(np.abs(expected).max())
            largest = max(largest, gap / scale if scale else float(gap > 0), 0.0 if np.isfinite(gap) else np.inf)
    return largest


def recall(store: Path, key: str) -> dict[str, str] | None:
    """Return a choice that `remember` has stored; None: there is none, or the file is damaged."""
    choice = _load(store).get(key)
    valid = isinstance(choice, dict) and all(isinstance(choice.get(name), str) for name in ("provider", "remark"))
    return choice if valid else None


def remember(store: Path, key: str, choice: Mapping[str, str]) -> None:
    """Store a choice; the oldest of more than 100 are dropped. A choice that cannot be stored is measured again."""
    choices = {name: entry for name, entry in _load(store).items() if name != key} | {key: dict(choice)}
    newest = dict(list(choices.items())[-_MOST_CHOICES:])
    with suppress(SinkError):
        write_file(store, json.dumps(newest, indent=1).encode())


def _load(store: Path) -> dict[str, Any]:
    try:
        choices = json.loads(store.read_bytes())
    except (OSError, ValueError):
        return {}
    return choices if isinstance(choices, dict) else {}


def _key(path: Path, threads: int, head: str | None, versions: Sequence[str]) -> str:
    """Return a hash of everything that the choice depends on."""
    content = file_sha256(path)
    return hashlib.sha256(json.dumps([content, threads, head, versions, _devices()]).encode()).hexdigest()


def _versions(runtime: ModuleType, names: Sequence[str]) -> list[str]:
    versions = [*names, runtime.__version__, runtime.get_build_info()]
    for name in names:
        with suppress(KeyError, importlib.metadata.PackageNotFoundError):
            versions.append(importlib.metadata.version(PLUGINS[name].wheel))
    return versions


def _devices() -> list[str]:
    """Return the names of the processor and of NVIDIA's GPUs, and the version of the GPUs' driver."""
    nvidia = Path("/proc/driver/nvidia")
    fields = {Path("/proc/cpuinfo"): "model name", nvidia / "version": "NVRM version"}
    fields |= dict.fromkeys(sorted(nvidia.glob("gpus/*/information")), "Model")
    names = [platform.machine()]
    for path, field in fields.items():
        with suppress(OSError):
            lines = path.read_text(errors="replace").splitlines()
            names += [line for line in lines if line.startswith(field)][:1]
    return names
