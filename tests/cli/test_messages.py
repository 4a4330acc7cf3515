"""Messages that the command line prints name its flags, not the arguments of Python functions."""

import ast
import re

import pytest

from support import REPOSITORY

FOLDERS = ("export", "kernels", "runtime", "src/camrt")
WITHOUT_MESSAGES = ("runtime/serve/", "runtime/report/", "runtime/audit/report/")
"""Their strings are pages, scripts and HTTP headers."""
VALUE = "\ufffd"
"""Stands for a value that a message inserts."""
PYTHON = re.compile(
    rf"camrt(\.\w+)*\.\w+\(|\b[A-Z]\w+\((\.\.\.|\w+=)|\b[a-z_]{{2,}}=(True|False|None|\.\.\.|[\d{{\"'{VALUE}])"
)
"""A call of camrt, an object, or an argument by name."""


def python_spelling(message):
    """Return the first Python spelling that no flag stands before; None: there is none."""
    match = PYTHON.search(message)
    return match[0] if match and "--" not in message[: match.start()] else None


@pytest.mark.parametrize(
    ("message", "spelling"),
    [
        ("model.onnx exists; pass overwrite=True", "overwrite=True"),
        (f"num_classes={VALUE} must be at least 1", f"num_classes={VALUE}"),
        ("pass camrt.load(..., provider='cpu')", "camrt.load("),
        ("camrt.export.to_gap_cnn(module) replaces it", "camrt.export.to_gap_cnn("),
        ("pass InputGeometry(width=..., height=...)", "InputGeometry(width="),
        ("give a constant, fix={...}", "fix={"),
        ("give a constant, --fix NAME=VALUE (fix={...})", None),
        ("write NAME=VALUE, as in device_type=GPU", None),
        ("save the weights with torch.save(module.state_dict(), path)", None),
    ],
)
def test_python_spellings_are_recognised(message, spelling):
    assert python_spelling(message) == spelling


@pytest.mark.parametrize("folder", FOLDERS)
def test_messages_have_no_python_spellings(folder):
    wrong = [
        f"{path}:{line}: {spelling}"
        for path, line, message in messages(folder)
        if (spelling := python_spelling(message)) is not None
    ]
    assert wrong == []


def messages(folder):
    """Yield file, line and text of each string that may be a message: it has a space and is no docstring."""
    for path in sorted((REPOSITORY / folder).rglob("*.py")):
        name = path.relative_to(REPOSITORY).as_posix()
        if name.startswith(WITHOUT_MESSAGES) or path.is_relative_to(REPOSITORY / "src/camrt/benchmarks"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        no_message = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        no_message |= {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            text = text_of(node)
            if node not in no_message and " " in text:
                yield name, node.lineno, text


def text_of(node):
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else VALUE for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
