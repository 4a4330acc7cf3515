"""Labels of plain text: one name a line, with or without numbers or synsets before the names."""

import re
from typing import Final

from camrt.export.labels.form import Labels, NotThisForm, in_order

_NUMBERED: Final = re.compile(r"(\d+)(?:\s*[:.,;)=|-]\s*|\s+)(\S.*)")
_SYNSET: Final = re.compile(r"n\d{8}[\s,;:]+(\S.*)")
_QUOTED: Final = re.compile(r"""(["'])(.*)\1\s*,?""")
_FEWEST_NUMBERS: Final = 3
"""Lines in a row with their own numbers, from which on a text counts as numbered."""


def labels_of_lines(text: str) -> Labels:
    """Return the labels of a text with one class a line.

    Raises:
        NotThisForm: a line is empty, or the text looks numbered and one number does not fit.
    """
    lines = [line.strip() for line in text.rstrip().splitlines()]
    if "" in lines:
        raise NotThisForm(f"line {lines.index('') + 1} is empty; write one label on each line")
    labels = _numbered(lines) or Labels(tuple(lines), "one name a line")
    if quoted := _all_groups(_QUOTED, labels.names, 2):
        labels = Labels(quoted, f"{labels.form}, quoted")
    if names := _all_groups(_SYNSET, labels.names, 1):
        labels = _numbered(list(names)) or Labels(names, labels.form)
        labels = Labels(labels.names, f"{labels.form}, after its synset")
    return labels


def _all_groups(pattern: re.Pattern[str], lines: tuple[str, ...], group: int) -> tuple[str, ...] | None:
    """Return a group of the pattern in each line; None where a line does not match, or there are no lines."""
    matches = [pattern.fullmatch(line) for line in lines]
    return tuple(match[group].strip() for match in matches if match) if lines and all(matches) else None


def _numbered(lines: list[str]) -> Labels | None:
    """Return the labels of lines that begin with their numbers; None: they do not."""
    matches = [_NUMBERED.fullmatch(line) for line in lines]
    numbers = [int(match[1]) for match in matches if match]
    if not numbers:
        return None
    form = "numbered lines"
    complete = len(numbers) == len(lines) and sorted(numbers) in (
        list(range(len(lines))),
        list(range(1, len(lines) + 1)),
    )
    if complete:
        return in_order({int(match[1]): match[2] for match in matches if match}, form)
    first = numbers[0]
    run = next((index for index, match in enumerate(matches) if not match or int(match[1]) != first + index),
               len(lines))  # fmt: skip
    looks_numbered = first == 0 and len(numbers) == len(lines)
    if run == len(lines) or first > 1 or not (looks_numbered or run >= _FEWEST_NUMBERS):
        return None  # names that begin with a number, such as "20 km/h"
    text = lines[run]
    raise NotThisForm(
        f"{form}: line {run + 1} should have the number {first + run}, and is {text!r:.60}; number every class once"
    )
