"""Plots of a training: learning curves and confusion matrix. Needs Matplotlib (extra ``train``)."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from camrt.errors import MissingExtra
from camrt.export.train.state import Epoch
from camrt.files import write_file

_MOST_NAMES: Final = 40
"""Classes up to which a confusion matrix has their names."""


def check_matplotlib() -> None:
    """Raise MissingExtra if Matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtra("plots of a training need Matplotlib: pip install 'camrt[train]'") from error


def plot_curves(history: Sequence[Epoch], target: Path) -> None:
    """Plot losses, top-1, worst class and attention over the epochs. Raises: DiskFull, SinkError."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [epoch["epoch"] for epoch in history]
    for key, title in (("train_loss", "training (smoothed labels)"), ("val_loss", "validation")):
        left.plot(epochs, [epoch[key] for epoch in history], label=title)
    left.set(xlabel="epoch", ylabel="loss in nats")
    for key, title in (("top1", "top-1"), ("worst_recall", "worst class"), ("attention", "attention on the object")):
        if all(epoch[key] is not None for epoch in history):
            right.plot(epochs, [epoch[key] for epoch in history], label=title)
    right.set(xlabel="epoch", ylabel="share", ylim=(0, 1))
    for axes in (left, right):
        axes.legend()
        axes.grid(alpha=0.3)
    _write(figure, target)


def plot_confusion(counts: NDArray[np.int64], classes: Sequence[str], target: Path) -> None:
    """Plot a confusion matrix (K, K), true classes in rows, as shares of each row. Raises: DiskFull, SinkError."""
    from matplotlib.figure import Figure

    side = min(16.0, 3.5 + 0.35 * len(classes))
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    axes.set(xlabel="predicted class", ylabel="true class")
    if len(classes) <= _MOST_NAMES:
        names = [_plain(name) for name in classes]
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=7)
    figure.colorbar(image, shrink=0.7, label="share of the true class")
    _write(figure, target)


def _plain(name: str) -> str:
    """Return a name that Matplotlib shows as it is: ``$`` would begin a formula."""
    return name.replace("$", r"\$")


def _write(figure: Any, target: Path) -> None:
    import warnings

    data = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters that its font lacks are boxes
        figure.savefig(data, format="png", dpi=110)
    write_file(target, data.getvalue())
