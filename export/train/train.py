"""Train a classifier on a folder of images, and make a verified model file of it: the path of ``camrt train``."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from camrt import kernels
from camrt.errors import SinkError, SourceError, UsageError
from camrt.export.train.backbone import LIBRARIES, make_network
from camrt.export.train.dataset import read_dataset
from camrt.export.train.fit import LAST, Job, fit, load_best
from camrt.export.train.gap_cnn import GapCnn
from camrt.export.train.map_sheet import draw_sheet
from camrt.export.train.near_duplicates import find_near_duplicates
from camrt.export.train.outputs import (
    MAPS,
    export_int8,
    export_model,
    sheet_path,
    write_reports,
)
from camrt.export.train.plots import check_matplotlib
from camrt.export.train.prepare import Prepared, memory_for_images, prepare
from camrt.export.train.recipe import Recipe
from camrt.export.train.report import TrainingReport, make_report
from camrt.export.train.samples import Dataset, Sample
from camrt.export.train.state import Epoch, new_state
from camrt.export.train.tables import write_csv
from camrt.export.train.validate import Validation, validate
from camrt.files import write_error, write_file
from camrt.images import Image, read_image

RESULTS: Final = "results.csv"
_FOLLOWED: Final = 16
"""Images whose maps are shown after each epoch."""
_SIZED: Final = 32
"""Images that choose the size of the network's input."""
_SIZES: Final = {"own": 128, "library": 224}
"""Largest side that is chosen, in pixels; of torchvision's and timm's networks the size that they are made for."""
_IMAGES_SEEN: Final = 120_000
"""Images that the epochs show in all, unless their number is given."""
_EPOCHS: Final = (30, 300)
_MOST_EPOCHS: Final = 100_000
"""If only the time is limited."""
_NAMED: Final = 5


def train(
    data: str | Path,
    folder: str | Path,
    recipe: Recipe | None = None,
    *,
    size: int | None = None,
    epochs: int | None = None,
    download: bool = False,
    fine: bool = False,
    int8: bool = False,
    resume: bool = False,
    on_remark: Callable[[str], None] = lambda _: None,
    on_epoch: Callable[[Epoch, int | None], None] = lambda _, __: None,
) -> TrainingReport:
    """Train a classifier with a global average pool and one linear layer, and make a verified model file.

    Args:
        data: the images, see `camrt.export.train.dataset.read_dataset`.
        folder: for all results; it is created.
        recipe: settings; None: the defaults.
        size: side of the network's input in pixels; None: fits the images, 128 at most, 224 for torchvision and timm.
        epochs: passes over the images; None: enough to show `_IMAGES_SEEN` images.
        download: let torchvision or timm download the backbone's weights.
        fine: maps of the model file have twice as many rows and columns.
        int8: write a quantized twin, too.
        resume: go on with a training in ``folder`` that was interrupted.
        on_remark: receives each remark about the images, before the training.
        on_epoch: receives each epoch, and the number of all; None: the time decides.

    Raises:
        UsageError: the images are too few, an option is wrong, or the folder holds another training.
        SourceError, ExportError, TrainingError, SinkError, MissingExtra: see the functions that do it.
    """
    check_matplotlib()
    recipe, folder = recipe or Recipe(), Path(folder)
    _check_folder(folder, resume=resume)
    dataset = read_dataset(data, seed=recipe.seed)
    recipe = replace(recipe, size=size or _choose_size(dataset.train, recipe.backbone))
    enough = min(max(_IMAGES_SEEN // len(dataset.train), _EPOCHS[0]), _EPOCHS[1])
    recipe_epochs = epochs or (enough if recipe.time_s is None else _MOST_EPOCHS)
    recipe = replace(recipe, epochs=recipe_epochs)
    torch.manual_seed(recipe.seed)
    weights = None if recipe.weights is None else Path(recipe.weights)
    network, weight_remarks = make_network(
        recipe.backbone, len(dataset.classes), recipe.size, weights=weights, download=download
    )
    job, remarks = _prepare(dataset, recipe, folder, network, pretrained=weights is not None or download)
    duplicates = find_near_duplicates(job.train.thumbnails, job.val.thumbnails)
    remarks += [*weight_remarks, *_duplicate_remarks(job, duplicates)]
    for remark in remarks:
        on_remark(remark)
    state = new_state(network.to(job.device), batch=recipe.batch, weight_decay=recipe.weight_decay)
    if resume and state.load(folder / LAST) != job.fingerprint:
        raise UsageError(
            f"{folder} holds a training with other settings or images; give those of its args.toml, or another folder"
        )
    try:
        (folder / MAPS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error
    write_file(folder / "args.toml", _settings(data, recipe, download=download, fine=fine, int8=int8).encode())
    images = [job.val.store.image(number) for number in job.followed]
    kernels.warm_up()  # or the first epoch counts their compilation as time for maps

    def report_epoch(epoch: Epoch) -> None:
        write_csv(state.history, folder / RESULTS)
        on_epoch(epoch, job.epochs if recipe.time_s is None else None)

    with _deterministic(recipe):
        fit(job, state, partial(_write_sheet, job, images), report_epoch)
    best = load_best(folder, state.average)
    network = state.average.cpu().eval()
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload] # torch has no type for it
    exported = export_model(job, network, fine=fine)
    attention = validate(network, job.val, job.val_targets, ()).attention
    predicted = exported.scores.argmax(axis=1)
    lines = write_reports(job, state.history, predicted, attention)
    fidelity = dict(export_int8(job)) if int8 else None
    if fidelity is not None:
        write_file(folder / "int8.json", json.dumps(fidelity, indent=2, ensure_ascii=False).encode())
    report = make_report(
        job,
        state,
        dataset,
        exported,
        duplicates=duplicates,
        attention=attention,
        per_class=lines,
        int8=fidelity,
        best_epoch=best,
        remarks=remarks,
    )
    write_file(folder / "report.json", json.dumps(report.as_dict(), indent=2, ensure_ascii=False).encode())
    return report


@contextmanager
def _deterministic(recipe: Recipe) -> Iterator[None]:
    """Let torch use operations that repeat exactly, if the recipe says so; afterwards the setting is as before."""
    before = torch.are_deterministic_algorithms_enabled()
    if recipe.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS does not repeat
        torch.use_deterministic_algorithms(mode=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _check_folder(folder: Path, *, resume: bool) -> None:
    """Raise UsageError if the folder holds a training, or none that could go on."""
    begun = (folder / LAST).is_file()
    if resume and not begun:
        raise UsageError(f"{folder} holds no training that could go on ({LAST} is missing); leave --resume out")
    if begun and not resume:
        raise UsageError(f"{folder} holds a training; go on with it with --resume, or choose another folder")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; choose a folder for the results")


def _choose_size(samples: Sequence[Sample], backbone: str) -> int:
    """Return the side of the network's input: the median side of some images, in steps of 32, within limits."""
    library = backbone.partition(":")[0] in LIBRARIES
    most = _SIZES["library" if library else "own"]
    if library:
        return most
    sides = []
    for sample in samples[:: max(1, len(samples) // _SIZED)]:
        try:
            sides.append(max(read_image(sample.path).shape[:2]))
        except SourceError:
            continue  # named when all images are read
    return min(most, max(32, int(np.median(sides)) // 32 * 32)) if sides else most


def _prepare(
    dataset: Dataset, recipe: Recipe, folder: Path, network: GapCnn, *, pretrained: bool
) -> tuple[Job, list[str]]:
    """Decode the images. Raises: UsageError: a class has none that can be read."""
    room = memory_for_images()
    train = prepare(dataset.train, recipe.size, whole=False, room=room * 3 // 4)
    val = prepare(dataset.val, recipe.size, whole=True, room=room // 4)
    remarks = list(dataset.remarks)
    problems = [*train.problems, *val.problems]
    if problems:
        more = len(problems) - _NAMED
        named = "; ".join(problems[:_NAMED]) + (f"; and {more} more" if more > 0 else "")
        remarks.append(f"left out: {len(problems)} images that cannot be used: {named}")
    for part, before, after in (("training", dataset.train, train), ("validation", dataset.val, val)):
        left = {sample.label for sample in after.samples}
        lost = [label for label in dataset.classes if label not in left]
        if lost and any(sample.label == lost[0] for sample in before):
            raise UsageError(f"{dataset.name}: no {part} image of class {lost[0]!r} can be read: {problems[0]}")
    numbers = {label: number for number, label in enumerate(dataset.classes)}
    targets = [np.array([numbers[sample.label] for sample in part.samples], np.int64) for part in (train, val)]
    job = Job(
        recipe=recipe,
        epochs=recipe.epochs,
        classes=dataset.classes,
        train=train,
        val=val,
        train_targets=targets[0],
        val_targets=targets[1],
        selects=dataset.selects,
        head_first=recipe.head_first if pretrained else 0.0,
        followed=_follow(targets[1]),
        device=torch.device("cuda" if torch.cuda.is_available() else "cpu"),
        folder=folder,
        fingerprint=_fingerprint(recipe, dataset.classes, train, val),
    )
    return job, remarks


def _follow(targets: NDArray[np.int64]) -> tuple[int, ...]:
    """Return the numbers of the images to follow: the first of each class, then the second of each, and so on."""
    seen: Counter[int] = Counter()
    order = []
    for number, target in enumerate(targets.tolist()):
        order.append((seen[target], target, number))
        seen[target] += 1
    return tuple(number for _, _, number in sorted(order)[:_FOLLOWED])


def _fingerprint(recipe: Recipe, classes: Sequence[str], *parts: Prepared) -> str:
    content = [asdict(recipe), list(classes)] + [[(one.name, one.label) for one in part.samples] for part in parts]
    return hashlib.sha256(json.dumps(content).encode("utf-8", "backslashreplace")).hexdigest()


def _duplicate_remarks(job: Job, duplicates: NDArray[np.int64]) -> list[str]:
    found = np.flatnonzero(duplicates >= 0)
    if not len(found):
        return []
    first = int(found[0])
    pair = f"{job.val.samples[first].name} and {job.train.samples[int(duplicates[first])].name}"
    return [
        f"{len(found)} of {len(duplicates)} validation images are almost the same as a training image, like {pair}; "
        "accuracy on them is no evidence, so top-1 is given without them, too"
    ]


def _settings(data: str | Path, recipe: Recipe, *, download: bool, fine: bool, int8: bool) -> str:
    """Return ``args.toml``, which ``camrt train --config`` reads."""
    plain = asdict(recipe)
    seconds, flip = plain.pop("time_s"), plain.pop("flip")
    values = {"data": str(Path(data).absolute()), **plain, "no-flip": not flip, "time": seconds and f"{seconds:g}s"}
    if recipe.weights is not None:
        values["weights"] = str(Path(recipe.weights).absolute())
    values |= {"download": download, "fine": fine, "int8": int8}
    for internal in ("weight_decay", "label_smoothing", "warm_up", "head_first"):
        del values[internal]
    lines = [f"{key.replace('_', '-')} = {json.dumps(value)}" for key, value in values.items() if value is not None]
    return "\n".join(["# camrt train --config args.toml -o FOLDER repeats this training", *lines, ""])


def _write_sheet(job: Job, images: Sequence[Image], epoch: Epoch, checked: Validation) -> None:
    captions = []
    for number in job.followed:
        true, predicted = int(job.val_targets[number]), int(checked.predicted[number])
        score = checked.scores[number, true]
        wrong = "" if true == predicted else f", not {job.classes[predicted]}"
        captions.append(f"{job.classes[true]} {score:.0%}{wrong}")
    title = f"epoch {epoch['epoch']}: top-1 {epoch['top1']:.1%}"
    sheet = draw_sheet(images, [checked.maps[number] for number in job.followed], captions, title)
    done, data = cv2.imencode(".jpg", sheet)
    if not done:
        raise SinkError(f"the maps of epoch {epoch['epoch']} cannot be encoded")
    write_file(sheet_path(job.folder, epoch["epoch"]), data.tobytes())
