"""Files of the current folder never run in place of a library, only those that the user names."""

import subprocess
import sys

import pytest

from support.command import camrt
from support.needs import environment
from support.serving import DEMO

pytestmark = pytest.mark.process

LIBRARIES = ("json", "argparse", "numpy", "onnx", "onnxruntime", "sympy", "cv2", "numba", "not_installed_extra")


@pytest.fixture
def folder(tmp_path):
    """A folder in which each library has a namesake that notes when it runs."""
    for name in LIBRARIES:
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r} + ' ')\n")
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [("inspect", DEMO), ("bench", DEMO, "--rounds", 1), ("doctor", "--json"), ("--help",)],
    ids=lambda words: words[0],
)
def test_no_namesake_of_a_library_runs(folder, words):
    done = camrt(*words, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert not (folder / "ran").exists(), (folder / "ran").read_text()


@pytest.mark.slow
def test_export_imports_the_named_module_and_its_neighbours_only(folder):
    (folder / "layers.py").write_text("import json\nimport torch\nblock = torch.nn.Conv2d(3, 4, 3)\n")
    (folder / "nets.py").write_text(
        "import torch\nfrom layers import block\nfrom torch import nn\n"
        "net = nn.Sequential(block, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))\n"
    )
    for start in ([sys.executable, "-m", "camrt.cli"], [sys.executable, "-P", "-m", "camrt.cli"]):
        done = subprocess.run(
            [*start, "export", "nets:net", "--size", "32", "-o", "out.onnx", "--overwrite"],
            cwd=folder,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert not (folder / "ran").exists(), (folder / "ran").read_text()
