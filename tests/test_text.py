"""Text of others stays on one line and moves no cursor."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camrt.errors import CamrtError, HeadNotFound, MissingExtra, UsageError
from camrt.text import one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("photo 1.jpg", "photo 1.jpg"),
        ("Straße, 港, 👩‍🚀", "Straße, 港, 👩‍🚀"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[2Ja\x9bb", r"\x1b[2Ja\x9bb"),
        ("a\u2028b\u2029", r"a\u2028b\u2029"),
        ("cod\u202egpj.exe", r"cod\u202egpj.exe"),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), r"caf\udce9"),
    ],
)
def test_control_characters_are_escaped_and_others_stay(text, shown):
    assert one_line(text) == shown


@given(st.text())
def test_any_text_becomes_one_line_that_can_be_encoded(text):
    shown = one_line(text)
    assert len(shown.splitlines()) <= 1
    shown.encode()


@pytest.mark.parametrize("kind", [CamrtError, UsageError, MissingExtra])
def test_errors_escape_names_in_their_text(kind):
    assert str(kind("a\nb\x1b.jpg cannot be read")) == r"a\nb\x1b.jpg cannot be read"


def test_further_arguments_of_an_error_are_further_lines():
    assert str(HeadNotFound("no head:", HeadNotFound("a\nb"), "c")) == "no head:\n  a\\nb\n  c"
