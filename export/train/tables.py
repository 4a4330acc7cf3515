"""Tables of a training: a line for each epoch, and a line for each class."""

import csv
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from camrt.export.train.samples import Sample
from camrt.files import write_file


def write_csv(lines: Sequence[Mapping[str, Any]], target: Path) -> None:
    """Write lines with the same keys, which are the titles. Raises: DiskFull, SinkError."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    write_file(target, text.getvalue().encode("utf-8", "backslashreplace"))


def confusion_matrix(predicted: NDArray[np.int64], targets: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Return the number of images of each true class (rows) that got each class: int64 (K, K)."""
    return np.bincount(targets * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def class_lines(
    confusion: NDArray[np.int64], classes: Sequence[str], train: Sequence[Sample], attention: NDArray[np.float64]
) -> list[dict[str, Any]]:
    """Return a line for each class, the worst first.

    Args:
        confusion: (K, K), true classes in rows.
        classes: their names.
        train: the training images.
        attention: (K,), mean share of heat on the object; NaN: no boxes.
    """
    trained = Counter(sample.label for sample in train)
    lines = []
    for number, name in enumerate(classes):
        row, right = confusion[number], int(confusion[number, number])
        wrong = row.copy()
        wrong[number] = 0
        predicted = int(confusion[:, number].sum())
        lines.append(
            {
                "class": name,
                "train_images": trained[name],
                "val_images": int(row.sum()),
                "recall": right / int(row.sum()) if row.sum() else None,
                "precision": right / predicted if predicted else None,
                "most_confused_with": classes[int(wrong.argmax())] if wrong.any() else None,
                "confused_images": int(wrong.max()),
                "attention": None if math.isnan(attention[number]) else float(attention[number]),
            }
        )
    return sorted(lines, key=lambda line: (line["recall"] is None, line["recall"] or 0.0))


def wilson_interval(right: int, total: int) -> tuple[float, float]:
    """Return the 95 % interval of a share. Source: Wilson 1927, JASA 22, 209-212."""
    if total == 0:
        return 0.0, 1.0
    z = 1.959964
    share, scale = right / total, 1 + z * z / total
    middle = (share + z * z / (2 * total)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(0.0, middle - half), min(1.0, middle + half)
