"""Metadata that Ultralytics' exporter writes into an ONNX file: ``names``, ``task``, ``imgsz``.

Its classifiers take RGB pixels / 255 without mean, the shorter side scaled to the input and the centre cropped
(``classify_transforms`` in ``ultralytics/data/augment.py``).
"""

import re
from collections.abc import Mapping

from camrt.errors import ExportError
from camrt.export.labels.read import labels_of_text
from camrt.export.source_metadata.statement import FROM_0_TO_1, Statement, stated_labels

PLACE = "the file's Ultralytics metadata"


def read_ultralytics(metadata: Mapping[str, str], *, output_is_named: bool) -> Statement | None:
    """Return what the metadata state; None: Ultralytics did not write the file.

    Args:
        metadata: entries of the file.
        output_is_named: the user chose an output, so the task does not decide.

    Raises:
        ExportError: the file is a detector or another network that does not classify images.
    """
    if "names" not in metadata or not ("task" in metadata or "ultralytics" in metadata.get("author", "").lower()):
        return None
    task = metadata.get("task", "classify").strip().lower()
    if task != "classify" and not output_is_named:
        raise ExportError(
            f"{PLACE} say task {task!r}: this network gives boxes, masks or points, and no scores of the whole image; "
            "export a classifier (task 'classify'), or choose an output that classifies with --output"
        )

    sides = [int(number) for number in re.findall(r"\d+", metadata.get("imgsz", ""))][:2]
    return Statement(
        place=PLACE,
        channels="grey" if metadata.get("channels", "3").strip() == "1" else "rgb",
        numbers=FROM_0_TO_1,
        size=(sides[-1], sides[0]) if sides else None,
        resize=("crop", None),
        labels=stated_labels(lambda: labels_of_text(metadata["names"]), f"{PLACE}, names"),
    )
