"""The labels of a file and the form that they were written in."""

from collections.abc import Mapping
from dataclasses import dataclass

from camrt.errors import UsageError


@dataclass(frozen=True, slots=True)
class Labels:
    """Class labels in the order of the scores."""

    names: tuple[str, ...]
    form: str
    """The form of the file, for messages: ``JSON list``, ``numbered lines``."""


class NotThisForm(UsageError):  # noqa: N818 - the name says what the text is not
    """A text looks like a form and does not fit it. The message has the form, the reason and the line, not the file."""


def in_order(numbered: Mapping[int, str], form: str) -> Labels:
    """Return the labels of numbered classes. The numbers are 0 to K - 1 or 1 to K.

    Raises:
        NotThisForm: there are none, or a number is missing.
    """
    if not numbered:
        raise NotThisForm(f"{form}: it has no classes")
    first = 0 if 0 in numbered else 1
    for number in range(first, first + len(numbered)):
        if number not in numbered:
            raise NotThisForm(
                f"{form}: it has {len(numbered)} numbers, from {min(numbered)} to {max(numbered)}, and {number} is "
                "missing; number the classes 0, 1, 2 ... as the network does"
            )
    names = tuple(numbered[number].strip() for number in sorted(numbered))
    return Labels(names, form if first == 0 else f"{form}, numbered from 1")
