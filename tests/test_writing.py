"""Module docstrings and document lines follow the project's rules for writing."""

import ast
import re

import pytest

from support import REPOSITORY

FOLDERS = ("export", "runtime", "kernels", "benchmarks", "src/camrt", "tests")
QUESTION_WORDS = {"what", "where", "how", "who", "which", "when", "why", "whoever", "whatever", "whether"}
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/*.md")
WIDTH = 120
_CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_GENERATED = re.compile(r"^<!-- measured: .*?^<!-- end -->$", re.MULTILINE | re.DOTALL)
_ADDRESS = re.compile(r"\]\([^)]*\)|https?://\S+")


@pytest.mark.parametrize("folder", FOLDERS)
def test_module_docstring_opens_with_a_noun_or_a_verb(folder):
    paths = sorted((REPOSITORY / folder).rglob("*.py"))
    assert paths
    offending = [
        f"{path.relative_to(REPOSITORY)}: {docstring.splitlines()[0]}"
        for path in paths
        if (docstring := ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))))
        and re.split(r"\W", docstring, maxsplit=1)[0].lower() in QUESTION_WORDS
    ]
    assert not offending, "\n".join(offending)


def test_document_lines_are_at_most_120_characters():
    paths = sorted(path for pattern in DOCUMENTS for path in REPOSITORY.glob(pattern))
    assert paths
    offending = [
        f"{path.relative_to(REPOSITORY)}:{number}: {len(line)} characters"
        for path in paths
        for number, line in enumerate(_prose(path.read_text(encoding="utf-8")), 1)
        if len(line) > WIDTH
    ]
    assert not offending, "\n".join(offending)


def _prose(text):
    """Return the lines of a document. Tables, code and measured blocks are empty, and addresses are left out."""
    for block in (_CODE, _GENERATED):
        text = block.sub(lambda match: "\n" * match[0].count("\n"), text)
    return ["" if line.startswith("|") else _ADDRESS.sub("", line) for line in text.split("\n")]
