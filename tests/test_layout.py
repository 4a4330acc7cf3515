"""Layout: folders stand at the root, and imports go one way, without circles."""

import ast
import importlib
import subprocess
import sys

import pytest

from support import REPOSITORY

FOLDERS = ("export", "runtime", "kernels", "benchmarks")

SHARED = {
    *("errors", "exclusive_file", "file_kind", "files", "frame_input", "geometry", "image_decoding", "images"),
    *("interleaved_timing", "loading", "media_files", "model_file", "onnx_functions", "progress", "text"),
    *("time_limit", "video_decoding"),
}

# The folders and shared modules that the code of a folder may import.
ALLOWED = {
    "kernels": {"kernels"},
    "runtime": {"runtime", "kernels", *SHARED, "cores", "synthetic_scene"},
    "benchmarks": {"benchmarks", "runtime", "kernels", *SHARED, "cores", "synthetic_scene"},
    "export": {"export", "kernels", *SHARED, "cores", "synthetic_scene"},
}
# These modules may also import export, because they export the networks that they measure.
EXPORTING_BENCHMARKS = ("camrt.benchmarks.compare", "camrt.benchmarks.goals", "camrt.benchmarks.planted_bias")


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_is_importable_from_the_root(folder):
    module = importlib.import_module(f"camrt.{folder}")
    (path,) = module.__path__
    assert (REPOSITORY / folder).samefile(path)


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_between_folders_go_one_way(folder):
    wrong = [
        f"{module} imports {name}"
        for module, names in graph().items()
        for name in names
        if module.split(".")[1] == folder and name.split(".")[1] not in allowed_imports(module)
    ]
    assert not wrong


def allowed_imports(module):
    allowed = ALLOWED[module.split(".")[1]]
    return allowed | {"export"} if module.startswith(EXPORTING_BENCHMARKS) else allowed


def test_only_the_bench_command_imports_benchmarks():
    users = {module for module, names in graph().items() if any(name.startswith("camrt.benchmarks") for name in names)}
    assert {module for module in users if not module.startswith("camrt.benchmarks")} == {"camrt.cli.bench"}


def test_no_module_imports_itself_through_others():
    """Imports inside functions and for type checking count, too."""
    assert circles(graph()) == []


@pytest.mark.parametrize("folder", ["export", "runtime"])
def test_sub_folders_do_not_import_each_other_in_a_circle(folder):
    inside = {}
    for module, names in graph().items():
        for name in names:
            parts, others = module.split("."), name.split(".")
            if parts[1] == others[1] == folder and len(parts) > 2 < len(others) and parts[2] != others[2]:
                inside.setdefault(parts[2], set()).add(others[2])
    assert circles(inside) == []


def graph():
    """Return the modules of camrt that each module imports: ``{"camrt.runtime.frames": {"camrt.images", ...}}``."""
    roots = {f"camrt.{folder}": REPOSITORY / folder for folder in FOLDERS}
    roots |= {
        f"camrt.{name}": REPOSITORY / "src" / "camrt" / name for name in ("cli", "image_decoding", "video_decoding")
    }
    paths = {f"camrt.{path.stem}": path for path in (REPOSITORY / "src" / "camrt").glob("[!_]*.py")}
    for name, root in roots.items():
        for path in root.rglob("*.py"):
            parts = [part for part in path.relative_to(root).with_suffix("").parts if part != "__init__"]
            paths[".".join([name, *parts])] = path
    return {module: {name for name in imports(path, paths) if name != module} for module, path in paths.items()}


def imports(path, modules):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                if (name := f"{node.module}.{alias.name}") in modules or (name := node.module) in modules:
                    yield name


def circles(arrows):
    """Return the nodes that can be reached from themselves."""

    def reachable(start):
        nodes, waiting = set(), list(arrows[start])
        while waiting:
            if (node := waiting.pop()) not in nodes:
                nodes.add(node)
                waiting += arrows.get(node, ())
        return nodes

    return sorted(node for node in arrows if node in reachable(node))


@pytest.mark.process
def test_importing_camrt_loads_nothing_heavy():
    code = "import sys, camrt; print(sorted({'numpy', 'cv2', 'onnxruntime', 'numba', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_all_lists_the_public_names():
    import camrt

    assert camrt.__all__ == [
        *("Audit", "CamrtError", "Evaluation", "LiveSession", "MapStore", "Model", "Result", "__version__", "audit"),
        *("collect", "evaluate", "load"),
    ]
    for name in camrt.__all__:
        assert getattr(camrt, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = camrt.lode
