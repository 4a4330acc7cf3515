"""Imports inside export go one way."""

import ast

import pytest

from support import REPOSITORY

FOLDERS = ("graph", "head", "verify", "quantize", "train")
"""From the lowest to the highest: each may import itself and those before it."""
SHARED = {"error_text"}
"""Files beside the folders that every folder may import."""
ALSO_ALLOWED = {"train": {"checkpoint", "from_torch", "load_module", "report"}}


def imported_parts(path):
    """Yield the first part after ``camrt.export`` of each import."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("camrt.export."):
            yield node.module.split(".")[2]


@pytest.mark.parametrize("folder", FOLDERS)
def test_folder_imports_lower_folders_only(folder):
    lower = FOLDERS[: FOLDERS.index(folder) + 1]
    allowed = {*lower, *SHARED, *ALSO_ALLOWED.get(folder, ())}
    files = sorted((REPOSITORY / "export" / folder).glob("*.py"))
    assert len(files) > 1
    wrong = {(path.name, part) for path in files for part in imported_parts(path) if part not in allowed}
    assert not wrong
