"""Notebooks of the documents run from the first cell to the last."""

import os
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest

from support import REPOSITORY
from support.needs import environment

NOTEBOOKS = sorted((REPOSITORY / "docs").glob("*.ipynb"))
TIMEOUT_S = 600
pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_all_cells_of_a_notebook_run(path, tmp_path, monkeypatch):
    variables = environment()
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    variables["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), variables["PATH"]])
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=TIMEOUT_S, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    texts = [output.text for cell in cells for output in cell.outputs if "text" in output]
    assert not [text for text in texts if "camrt: error" in text or "Traceback" in text], texts
    if path.stem == "train":
        assert "'boat' is recognised by" in "".join(texts)
        assert "clean: True" in "".join(texts)
