"""Labels of parsed values: lists and dicts, from JSON, Python, YAML, or metadata of a file."""

import ast
import json
import re
from typing import Any, Final

from camrt.export.labels.form import Labels, NotThisForm, in_order

LABEL_KEYS: Final = (
    "id2label",
    "label_names",
    "names",
    "labels",
    "classes",
    "class_names",
    "class_labels",
    "categories",
    "label2id",
    "class_to_idx",
    "class_indices",
)
"""Keys of a larger file that hold its labels, the most specific first."""
_NAME_KEYS: Final = ("name", "label", "class_name", "class", "title", "tag")
_NUMBER_KEYS: Final = ("id", "index", "class_id", "idx", "label_id", "class_idx")
_SYNSET: Final = re.compile(r"n\d{8}")


def parse_values(text: str) -> tuple[Any, str] | None:
    """Return the value of a JSON or Python text and the name of its language; None: the text looks like neither.

    Raises:
        NotThisForm: the text looks like one of them, but has an error.
    """
    text = text.strip()
    if not text.startswith(("[", "{")):
        return None
    try:
        return json.loads(text), "JSON"
    except json.JSONDecodeError as error:
        json_error = f"{error.msg}, line {error.lineno}"
    try:
        return ast.literal_eval(text), "Python"
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        first = text.splitlines()[0]
        if not re.match(r"""[\[{]\s*(["'\[{]|-?\d+\s*[:,]|$)""", first):
            return None  # a plain label that begins with a bracket
        line = getattr(error, "lineno", None)
        python_error = f"{getattr(error, 'msg', error)}, line {line}" if line else str(error)
        raise NotThisForm(
            f"it begins like a list or dict, but is neither JSON ({json_error}) nor Python ({python_error})"
        ) from error


def labels_of(value: Any, language: str) -> Labels:
    """Return the labels of a list or dict.

    Args:
        value: a list of names, of dicts with a name, or of pairs; a dict from numbers to names or from names to
            numbers; or a dict that holds one of these under one of `LABEL_KEYS`.
        language: for the name of the form.

    Raises:
        NotThisForm: the value holds no labels, or not one for each number.
    """
    if isinstance(value, dict):
        return _labels_of_dict(value, language)
    if isinstance(value, (list, tuple)):
        form = f"{language} list"
        numbered = [_number_of(entry) for entry in value]
        if value and all(number is not None for number in numbered):
            return in_order(_numbered([(number, _name_of(entry, form)) for number, entry in
                                       zip(numbered, value, strict=True)], form), form)  # fmt: skip
        return Labels(tuple(_name_of(entry, form) for entry in value), form)
    raise NotThisForm(f"{language} {type(value).__name__}: labels are a list or a dict")


def _labels_of_dict(value: dict[Any, Any], language: str) -> Labels:
    form = f"{language} dict"
    if value and all(_is_number(key) for key in value):
        pairs = [(int(key), _name_of(entry, form)) for key, entry in value.items()]
        return in_order(_numbered(pairs, form), form)
    if value and all(_is_number(entry) for entry in value.values()):  # label2id, class_to_idx
        names = [(int(number), str(name)) for name, number in value.items()]
        if sorted(number for number, _ in names) in (list(range(len(names))), list(range(1, len(names) + 1))):
            return in_order(dict(names), f"{form} from name to number")
    for key in LABEL_KEYS:
        if isinstance(value.get(key), (list, dict)):
            inner = labels_of(value[key], language)
            return Labels(inner.names, f"{key!r} of a {form}")
    raise NotThisForm(
        f"{form}: its keys are neither numbers of classes nor one of {', '.join(LABEL_KEYS)}; they are "
        f"{', '.join(repr(key) for key in list(value)[:4])}"
    )


def _numbered(pairs: list[tuple[Any, str]], form: str) -> dict[int, str]:
    numbered: dict[int, str] = {}
    for number, name in pairs:
        if int(number) in numbered:
            raise NotThisForm(f"{form}: class {number} has two names, {numbered[int(number)]!r} and {name!r}")
        numbered[int(number)] = name
    return numbered


def _name_of(entry: Any, form: str) -> str:
    """Return the name of a class: a text, a number, a dict with a name, or a pair of synset and name."""
    if isinstance(entry, str) or (isinstance(entry, (int, float)) and not isinstance(entry, bool)):
        return str(entry).strip()
    if isinstance(entry, dict):
        name = next((entry[key] for key in _NAME_KEYS if isinstance(entry.get(key), (str, int))), None)
        if name is not None:
            return str(name).strip()
    if isinstance(entry, (list, tuple)) and entry and all(isinstance(part, str) for part in entry):
        if len(entry) == 1 or _SYNSET.fullmatch(entry[0]):
            return str(entry[-1]).strip()
        return ", ".join(str(part).strip() for part in entry)  # synonyms
    raise NotThisForm(f"{form}: {entry!r:.60} is not the name of a class")


def _number_of(entry: Any) -> int | None:
    number = next((entry[key] for key in _NUMBER_KEYS if key in entry), None) if isinstance(entry, dict) else None
    return None if number is None or not _is_number(number) else int(number)


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().isdecimal()
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
