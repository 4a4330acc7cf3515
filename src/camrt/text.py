"""Text of others that is shown: names of files, sources and classes, without control characters. Needs only Python."""

import unicodedata
from typing import Final

_ESCAPED: Final = frozenset(("Cc", "Cs", "Zl", "Zp"))
"""Unicode categories: control characters, halves of surrogate pairs, separators of lines and paragraphs."""
_BIDIRECTIONAL: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that reverse the order of the text after them."""


def one_line(text: str) -> str:
    r"""Return a text that stays on one line, moves no cursor and can be encoded.

    Control characters and lone surrogates become escape sequences: ``\n``, ``\x1b``, ``\udc80``.
    """
    return text if text.isprintable() else "".join(map(_escape, text))


def is_utf8(text: str) -> bool:
    """Return whether a text can be encoded; a file's name may be other bytes, which Python keeps as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _escape(character: str) -> str:
    if unicodedata.category(character) in _ESCAPED or character in _BIDIRECTIONAL:
        return character.encode("unicode_escape", "backslashreplace").decode("ascii")
    return character
