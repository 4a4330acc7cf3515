"""The rooms stand where they should, and arrows between them go one way."""

import ast
import importlib
import subprocess
import sys

import pytest

from support import REPOSITORY

ROOMS = ("export", "runtime", "kernels", "benchmarks")

SHARED = ("errors", "file_kind", "files", "geometry", "images", "loading", "model_file")

# Which rooms (and shared modules) the code of a room may import.
ALLOWED = {
    "kernels": {"kernels"},
    "runtime": {"runtime", "kernels", *SHARED, "cores"},
    "benchmarks": {"benchmarks", "runtime", "kernels", "export", *SHARED, "cores"},
    "export": {"export", "kernels", *SHARED},
}
# The command that trains the demo model needs the scenes it trains on.
EXCEPTIONS = {("export", "runtime.sources.synthetic")}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_importable_from_its_folder_at_the_root(room):
    module = importlib.import_module(f"camrt.{room}")
    (folder,) = module.__path__
    assert (REPOSITORY / room).samefile(folder)


@pytest.mark.parametrize("room", ROOMS)
def test_arrows_between_rooms_go_one_way(room):
    wrong = []
    for path in sorted((REPOSITORY / room).rglob("*.py")):
        for name in _camrt_imports(path):
            target = name.removeprefix("camrt.")
            if target.split(".")[0] not in ALLOWED[room] | {"__version__"} and (room, target) not in EXCEPTIONS:
                wrong.append(f"{path.relative_to(REPOSITORY)} imports {name}")
    assert not wrong


def _camrt_imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("camrt."))
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            if node.module == "camrt":
                yield from (f"camrt.{alias.name}" for alias in node.names)
            elif node.module.startswith("camrt."):
                yield node.module


@pytest.mark.process
def test_importing_camrt_loads_nothing_heavy():
    code = "import sys, camrt; print(sorted({'numpy', 'cv2', 'onnxruntime', 'numba', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_the_public_names_are_these():
    import camrt

    assert camrt.__all__ == ["CamrtError", "LiveSession", "Model", "Result", "__version__", "load"]
    for name in camrt.__all__:
        assert getattr(camrt, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = camrt.lode
