"""Each folder is importable as a part of camrt, and imports go one way."""

import ast
import importlib
import subprocess
import sys

import pytest

from support import REPOSITORY

FOLDERS = ("export", "runtime", "kernels", "benchmarks")

SHARED = ("errors", "file_kind", "files", "geometry", "images", "loading", "model_file")

# Folders and shared modules that the code of a folder may import.
ALLOWED = {
    "kernels": {"kernels"},
    "runtime": {"runtime", "kernels", *SHARED, "cores"},
    "benchmarks": {"benchmarks", "runtime", "kernels", *SHARED, "cores"},
    "export": {"export", "kernels", *SHARED},
}
# More imports that a file or folder needs.
EXCEPTIONS = {
    "benchmarks/compare": "export",  # the networks that are compared must be exported first
    "benchmarks/fruits.py": "export",  # trains and exports a network
    "export/train/demo.py": "runtime.sources.synthetic",  # the demo model is trained on synthetic scenes
}
# Code outside benchmarks that may import it.
USES_BENCHMARKS = {
    "src/camrt/cli/bench.py",
    "src/camrt/cli/quantize.py",  # until the speed of a quantized file is measured by the runtime
}


@pytest.mark.parametrize("folder", FOLDERS)
def test_folder_is_importable_from_the_root(folder):
    module = importlib.import_module(f"camrt.{folder}")
    (path,) = module.__path__
    assert (REPOSITORY / folder).samefile(path)


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_between_folders_go_one_way(folder):
    wrong = []
    for path in sorted((REPOSITORY / folder).rglob("*.py")):
        file = path.relative_to(REPOSITORY)
        exceptions = [module for place, module in EXCEPTIONS.items() if file.is_relative_to(place)]
        for name in _camrt_imports(path):
            target = name.removeprefix("camrt.")
            is_exception = any(f"{target}.".startswith(f"{module}.") for module in exceptions)
            if target.split(".")[0] not in ALLOWED[folder] | {"__version__"} and not is_exception:
                wrong.append(f"{file} imports {name}")
    assert not wrong


def test_only_the_bench_command_imports_benchmarks():
    folders = [REPOSITORY / folder for folder in FOLDERS if folder != "benchmarks"]
    paths = [path for folder in folders for path in folder.rglob("*.py")]
    paths += [path for folder in ("camrt", "camrt/cli") for path in (REPOSITORY / "src" / folder).glob("*.py")]
    importers = {path for path in paths if any(name.startswith("camrt.benchmarks") for name in _camrt_imports(path))}
    assert {str(path.relative_to(REPOSITORY)) for path in importers} == USES_BENCHMARKS


def _camrt_imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("camrt."))
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            if node.module == "camrt":
                yield from (f"camrt.{alias.name}" for alias in node.names)
            elif node.module.startswith("camrt."):
                yield node.module


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
