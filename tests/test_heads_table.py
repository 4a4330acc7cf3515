"""The table of networks in the documents is what the tests of this run found."""

import re

import pytest

from camrt.benchmarks.tables import fill
from support import REPOSITORY
from support.heads_table import ROWS, table

DOCUMENT = REPOSITORY / "docs" / "heads.md"
ALL = 60
"""Networks that a whole run looks at, at least."""


def without_errors(text):
    """The errors differ from machine to machine; the rest must not."""
    return re.sub(r"\| (1e-\d+)? *\|$", "|", text, flags=re.MULTILINE)


@pytest.mark.slow
def test_the_table_in_the_documents_is_that_of_this_run():
    """Where it is not, it is written anew: look at what changed and commit it."""
    if len(ROWS) < ALL:
        pytest.skip(f"a part of the tests saw {len(ROWS)} networks; the table is of a whole run")
    text = DOCUMENT.read_text(encoding="utf-8")
    filled = fill(text, {"heads": table()})
    if without_errors(filled) != without_errors(text):
        DOCUMENT.write_text(filled, encoding="utf-8")
        pytest.fail(f"{DOCUMENT.name} showed other heads than were found; it has been written anew")
