"""A label file beside the classifier, as Custom Vision and Teachable Machine write it; labels in other metadata."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from camrt.errors import UsageError
from camrt.export.labels.read import labels_of_text, read_labels
from camrt.export.labels.values import LABEL_KEYS
from camrt.export.source_metadata.statement import Statement, stated_labels

NAME: Final = "labels.txt"


def read_label_file(folder: Path) -> Statement | None:
    """Return the labels of ``labels.txt`` in a folder; None: there is none. Raises: UsageError."""
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        labels = read_labels(path)
    except UsageError as error:
        raise UsageError(f"{error}; pass --labels FILE, or --labels none for numbers") from error
    return Statement(place=f"{NAME} beside the file ({labels.form})", labels=labels.names)


def read_label_entry(metadata: Mapping[str, str]) -> Statement | None:
    """Return the labels of an entry ``names``, ``labels`` ... of the file's metadata; None: there is none."""
    key = next((key for key in LABEL_KEYS if metadata.get(key, "").strip()), None)
    if key is None:
        return None
    place = f"the file's metadata, entry {key!r}"
    text = metadata[key].strip()
    if not text.startswith(("[", "{")):
        parts = text.splitlines() if "\n" in text else text.split(";" if ";" in text else ",")
        if len(parts) == 1:
            return None  # a number of classes, or the name of a file
        text = "\n".join(part.strip() for part in parts)
    return Statement(place=place, labels=stated_labels(lambda: labels_of_text(text), place))
