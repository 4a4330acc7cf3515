"""Read labels from a file in any of the usual forms, and check their number."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from camrt.errors import UsageError
from camrt.export.labels.form import Labels, NotThisForm
from camrt.export.labels.lines import labels_of_lines
from camrt.export.labels.simple_yaml import labels_of_yaml
from camrt.export.labels.table import labels_of_table
from camrt.export.labels.values import labels_of, parse_values

NO_LABELS: Final = "none"
"""Option value: the classes have numbers only, whatever the file's metadata say."""
_LABEL_MAP: Final = re.compile(r"item\s*\{")
_FORMS: Final = (
    "lines, numbered lines, a JSON or Python list or dict, a config.json with id2label, CSV, YAML with names"
)


def read_labels(path: Path) -> Labels:
    """Read the labels of a file.

    The content decides about the form: one name a line, with numbers or synsets before it or not; a JSON or Python
    list or dict; a dict with ``id2label``, ``names`` or the like. ``.csv``, ``.tsv``, ``.yaml`` and ``.yml`` name
    tables and YAML, which are read in other files too, if titles or a line ``names:`` show them.

    Raises:
        UsageError: the file cannot be read, or looks like one of the forms and does not fit it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"labels {path} cannot be read: {error.strerror}") from error
    text, encoding = _decode(path, data)
    try:
        labels = labels_of_text(text, path.suffix.lower())
    except NotThisForm as error:
        raise UsageError(f"labels {path}: {error}") from error
    return Labels(labels.names, f"{labels.form}{encoding}")


def labels_of_text(text: str, suffix: str = "") -> Labels:
    """Return the labels of a text.

    Args:
        text: the content of a file, or the value of an entry of metadata.
        suffix: of the file, in lower case, with the dot.

    Raises:
        NotThisForm: the text looks like one of the forms and does not fit it.
    """
    start = text.lstrip()[:200].lower()
    if start.startswith("<"):
        raise NotThisForm(f"XML or HTML; supported are {_FORMS}")
    if _LABEL_MAP.match(start):
        raise NotThisForm(f"a TensorFlow label map (pbtxt); supported are {_FORMS}")
    if (values := parse_values(text)) is not None:
        return labels_of(*values)
    if suffix == ".json":
        raise NotThisForm("JSON of labels is a list or a dict")
    if (labels := labels_of_yaml(text, is_yaml=suffix in (".yaml", ".yml"))) is not None:
        return labels
    if (labels := labels_of_table(text, is_csv=suffix in (".csv", ".tsv"))) is not None:
        return labels
    return labels_of_lines(text)


def check_labels(labels: Sequence[str] | None, classes: int, place: str = "") -> None:
    """Raise UsageError unless there is one label for each class.

    Args:
        labels: the labels; None: there are none to check.
        classes: number of classes of the network.
        place: where the labels are from, for the message: ``labels.txt (CSV)``.
    """
    if labels is None or len(labels) == classes:
        return
    advice = "pass the labels that the network was trained with (--labels FILE, or --labels none for numbers)"
    if len(labels) == classes - 1:
        advice = "if its first class is 'background', put that label first"
    elif len(labels) == classes + 1:
        is_background = labels[0].strip().lower() in ("background", "__background__", "_background_", "dummy")
        advice = f"the first label is {labels[0]!r}; if the network lacks this class, remove that label"
        if not is_background:
            advice = f"one label is too many: the first is {labels[0]!r:.40}, the last {labels[-1]!r:.40}"
    elif len(labels) == 1:
        advice = f"the one label is {labels[0]!r:.60}; write one label on each line"
    source = f" in {place}" if place else ""
    count = f"there is 1 label{source}" if len(labels) == 1 else f"there are {len(labels)} labels{source}"
    raise UsageError(f"{count}, but the network has {classes} classes; {advice}")


def _decode(path: Path, data: bytes) -> tuple[str, str]:
    """Return the text of a file, and a remark on its encoding where that is not UTF-8."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return data.decode("utf-16"), ", in UTF-16"
        except UnicodeDecodeError as error:
            raise UsageError(f"labels {path} is not UTF-16 text: {error.reason}; save it as UTF-8") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        text = data.decode("cp1252", errors="replace")
        others = [character for character in text if ord(character) > 127]
        words = sum(character.isalpha() for character in text)
        if not all(character.isalpha() for character in others) or len(others) * 4 > words:
            raise UsageError(
                f"labels {path} is not UTF-8 text: byte {error.start} is {error.reason}; save it as UTF-8"
            ) from error
        return text, ", read as Windows-1252 (Latin-1), for it is not UTF-8"
    if "\0" in text:
        raise UsageError(f"labels {path} is not a text: byte {data.index(0)} is zero; save the labels as UTF-8 text")
    return text, ""
