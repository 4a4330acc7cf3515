"""The file ``metadata.json`` of Teachable Machine's export: labels and input size.

Its networks take RGB pixels from -1 to 1 and the centre of the frame. ``labels.txt`` (``0 name``) is read by
`label_file`.
"""

from pathlib import Path
from typing import Final

from camrt.errors import UsageError
from camrt.export.labels.values import labels_of
from camrt.export.source_metadata.beside import read_json
from camrt.export.source_metadata.statement import FROM_MINUS_1_TO_1, Statement, stated_labels

NAME: Final = "metadata.json"


def read_teachable_machine(folder: Path) -> Statement | None:
    """Return what Teachable Machine's file in a folder states; None: there is none. Raises: UsageError."""
    try:
        entries = read_json(folder / NAME)
    except UsageError:
        return None  # many tools write a file of this name
    if not isinstance(entries, dict) or "tmVersion" not in entries:
        return None
    side = entries.get("imageSize")
    labels = entries.get("labels")
    return Statement(
        place=f"{NAME} (Teachable Machine)",
        channels="grey" if entries.get("grayscale") is True else "rgb",
        numbers=FROM_MINUS_1_TO_1,
        size=(side, side) if isinstance(side, int) else None,
        resize=("crop", None),
        labels=None if not labels else stated_labels(lambda: labels_of(labels, "JSON"), NAME),
    )
