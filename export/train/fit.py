"""Train a network epoch by epoch, with a state on the disk from which it goes on exactly."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from camrt.errors import TrainingError
from camrt.export.train.augment import Batch, batches, network_input
from camrt.export.train.gap_cnn import GapCnn
from camrt.export.train.prepare import Prepared
from camrt.export.train.recipe import Recipe
from camrt.export.train.state import Epoch, TrainingState, read_checkpoint, write_checkpoint
from camrt.export.train.validate import Validation, recalls, validate
from camrt.progress import Progress

LAST: Final = "last.pt"
BEST: Final = "best.pt"
_LEAST_BATCH: Final = 2
_NO_MEMORY: Final = ("out of memory", "can't allocate memory", "not enough memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is trained, on which images."""

    recipe: Recipe
    epochs: int
    classes: tuple[str, ...]
    train: Prepared
    val: Prepared
    train_targets: NDArray[np.int64]
    val_targets: NDArray[np.int64]
    selects: bool
    """The validation part chooses the best epoch; False: the last one is taken."""
    head_first: float
    """Share of the training in which only the linear layer learns."""
    followed: tuple[int, ...]
    """Numbers of the validation images whose maps are shown."""
    device: torch.device
    folder: Path
    fingerprint: str
    """Of the settings and the images, to recognise the training."""

    @property
    def about(self) -> dict[str, Any]:
        """The entries of checkpoints from which the network is made again."""
        return {"classes": list(self.classes), "backbone": self.recipe.backbone, "size": self.recipe.size}


def fit(
    job: Job,
    state: TrainingState,
    draw_maps: Callable[[Epoch, Validation], None],
    on_epoch: Callable[[Epoch], None],
) -> None:
    """Train until the epochs or the time are over, or nothing gets better.

    After each epoch ``best.pt`` (if it is the best one) and ``last.pt`` are written, so a killed training loses no more
    than the epoch in which it was killed.

    Args:
        job: the training.
        state: from which to go on; changed in place.
        draw_maps: receives each epoch and its validation; its time counts as time for maps.
        on_epoch: receives each epoch as soon as its state is written.

    Raises:
        TrainingError: the loss is no number, or memory is too short.
        DiskFull, SinkError: a file cannot be written.
    """
    state.save(job.folder / LAST, job.fingerprint, job.about)
    bar = Progress(None, "batches", after_s=2.0)
    while not is_over(job, state):
        start = time.perf_counter()
        try:
            loss = _train_epoch(job, state, start, bar)
        except (RuntimeError, MemoryError) as error:
            if not (isinstance(error, MemoryError) or any(text in str(error).lower() for text in _NO_MEMORY)):
                raise
            _halve_batch(job, state, error)
            continue
        checked = validate(state.average, job.val, job.val_targets, job.followed)
        epoch = _describe(job, state, loss, checked)
        before_maps = time.perf_counter()
        draw_maps(epoch, checked)
        end = time.perf_counter()
        seconds = end - start
        epoch["map_seconds"] = round(checked.map_seconds + end - before_maps, 4)
        epoch["seconds"] = round(seconds, 3)
        state.elapsed_s += seconds
        state.history.append(epoch)
        if not job.selects or state.best is epoch:
            content = {"network": state.average.state_dict(), "epoch": epoch["epoch"], **job.about}
            write_checkpoint(content, job.folder / BEST)
        state.save(job.folder / LAST, job.fingerprint, job.about)
        on_epoch(epoch)
    bar.close()


def is_over(job: Job, state: TrainingState) -> bool:
    """Return whether no further epoch is trained."""
    done = len(state.history)
    if done >= job.epochs or (done and job.recipe.time_s is not None and state.elapsed_s >= job.recipe.time_s):
        return True
    best = state.best
    return bool(job.selects and job.recipe.patience and best and done - best["epoch"] >= job.recipe.patience)


def learning_rate(recipe: Recipe, share: float) -> float:
    """Return the learning rate after a share of the training: it rises linearly, then falls like a cosine.

    Source: Loshchilov and Hutter 2017, arXiv:1608.03983.
    """
    if share < recipe.warm_up:
        return recipe.peak_rate * share / recipe.warm_up
    rest = (share - recipe.warm_up) / (1 - recipe.warm_up) if recipe.warm_up < 1 else 1.0
    return recipe.peak_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, rest)))


def _train_epoch(job: Job, state: TrainingState, start: float, bar: Progress) -> float:
    """Train one epoch; returns its mean loss. Raises: TrainingError: the loss is no number."""
    recipe, epoch = job.recipe, len(state.history)
    torch.manual_seed((recipe.seed * 1_000_003 + epoch) % 2**63)  # of dropout: the same after an interruption
    count = max(1, -(-len(job.train.samples) // state.batch))
    total = 0.0
    if bar.total is None and recipe.time_s is None:
        bar.total = count * (job.epochs - epoch)
    stream = batches(
        job.train.store,
        job.train_targets,
        size=recipe.size,
        batch=state.batch,
        augment=recipe.augment,
        flip=recipe.flip,
        seed=recipe.seed,
        epoch=epoch,
    )
    try:
        for number, batch in enumerate(stream):
            share = (epoch + (number + 1) / count) / job.epochs
            if recipe.time_s is not None:
                share = max(share, (state.elapsed_s + time.perf_counter() - start) / recipe.time_s)
                if share >= 1.0 and number:
                    return total / number
            total += _step(job, state, batch, share)
            bar.step()
    finally:
        stream.close()  # type: ignore[attr-defined] # it is a generator: its threads end
    return total / count


def _step(job: Job, state: TrainingState, batch: Batch, share: float) -> float:
    recipe, network = job.recipe, state.network
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(recipe, share)
    head_only = share < job.head_first
    network.train()
    if head_only:
        network.features.eval()
    images = network_input(batch.pixels.to(job.device), batch.colours.to(job.device))
    half = job.device.type == "cuda" and torch.cuda.is_bf16_supported()
    with torch.autocast(job.device.type, torch.bfloat16, enabled=half):
        with torch.set_grad_enabled(not head_only):
            maps = network.features(images)
        logits = network.classifier(maps.mean(dim=(2, 3)))
    loss = functional.cross_entropy(
        logits.float(), batch.targets.to(job.device), label_smoothing=recipe.label_smoothing
    )
    value = loss.item()
    if not math.isfinite(value):
        best = state.best
        kept = f"{job.folder / BEST} holds epoch {best['epoch']}" if best else "no epoch was finished"
        raise TrainingError(
            f"the loss is {value} in epoch {len(state.history) + 1}, so the training stopped; {kept}. Try "
            f"--learning-rate {recipe.peak_rate / 3:.1g}"
        )
    state.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    state.optimizer.step()
    state.update_average()
    return value


def _halve_batch(job: Job, state: TrainingState, error: BaseException) -> None:
    """Go back to the begin of the epoch with half the batch. Raises: TrainingError: it is too small by now."""
    batch = state.batch // 2
    if batch < _LEAST_BATCH:
        raise TrainingError(
            f"memory is too short for a batch of {state.batch} images of {job.recipe.size} pixels; take a smaller "
            "--size or backbone"
        ) from error
    state.optimizer.zero_grad()
    if job.device.type == "cuda":
        torch.cuda.empty_cache()
    state.load(job.folder / LAST)
    state.batch = batch


def _describe(job: Job, state: TrainingState, loss: float, checked: Validation) -> Epoch:
    recall = recalls(checked.predicted, job.val_targets, len(job.classes))
    worst = int(np.nanargmin(recall))
    attention: Any = None if np.isnan(checked.attention).all() else round(float(np.nanmean(checked.attention)), 4)
    return {
        "epoch": len(state.history) + 1,
        "train_loss": round(loss, 5),
        "val_loss": round(checked.loss, 5),
        "top1": float((checked.predicted == job.val_targets).mean()),
        "worst_class": job.classes[worst],
        "worst_recall": float(recall[worst]),
        "attention": attention,
        "batch": state.batch,
    }


def load_best(folder: Path, network: GapCnn) -> int:
    """Load the weights of the best epoch into a network; returns the number of the epoch. Raises: ExportError."""
    content = read_checkpoint(folder / BEST)
    network.load_state_dict(content["network"])
    return int(content["epoch"])
