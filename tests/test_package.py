"""The wheel, the sdist and the editable install hold the same files, and work without the packages of their extras."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from support import REPOSITORY

pytestmark = pytest.mark.process

SITE = Path(sysconfig.get_path("purelib"))
TORCH_AND_ONNX = ("torch", "functorch", "torchgen", "torchvision", "torchcam", "onnx", "onnxscript", "onnx_ir", "timm")
ONNXRUNTIME = ("onnxruntime",)


def run(*command, **options):
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=300, check=False, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, REPOSITORY)
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    return wheel, sdist


@pytest.fixture(scope="module")
def installed(distributions, tmp_path_factory):
    """Return the Python of a fresh environment that has the wheel, outside the checkout."""
    python = _environment(tmp_path_factory.mktemp("wheel"))
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", distributions[0])
    return python


def _environment(folder):
    run(sys.executable, "-m", "venv", "--without-pip", folder / "env")
    return folder / "env" / "bin" / "python"


def _without(packages, folder):
    """Return an environment that can import the packages of this Python, except ``packages``.

    It cannot import camrt either, because Python reads no .pth files on PYTHONPATH.
    """
    folder.mkdir()
    for entry in SITE.iterdir():
        top = entry.name.split("-")[0].split(".")[0]
        if top not in packages and entry.suffix != ".pth" and top != "camrt":
            (folder / entry.name).symlink_to(entry)
    return {**os.environ, "PYTHONPATH": str(folder)}


def test_the_wheel_and_the_wheel_of_the_sdist_hold_the_same_files(distributions, tmp_path):
    wheel, sdist = distributions
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = (path for path in tmp_path.iterdir() if path.is_dir())
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", tmp_path / "again", unpacked)
    (again,) = (tmp_path / "again").glob("*.whl")
    assert zipfile.ZipFile(wheel).namelist() == zipfile.ZipFile(again).namelist()


def test_the_wheel_holds_every_module_and_the_demo_model(distributions):
    names = set(zipfile.ZipFile(distributions[0]).namelist())
    expected = {f"camrt/{path.relative_to(REPOSITORY / 'src' / 'camrt')}" for path in _sources("src/camrt")}
    for folder in ("export", "runtime", "kernels", "benchmarks"):
        expected |= {f"camrt/{path.relative_to(REPOSITORY)}" for path in _sources(folder)}
    assert expected <= names
    assert {"camrt/py.typed", "camrt/runtime/assets/demo.onnx"} <= names
    assert {f"camrt/runtime/serve/page/{name}" for name in ("index.html", "style.css", "live.js")} <= names
    assert not [name for name in names if "tests" in name or "__pycache__" in name]


def _sources(folder):
    # Path.rglob does not follow the links under src/camrt.
    return [path for path in (REPOSITORY / folder).rglob("*.py") if "__pycache__" not in path.parts]


def test_the_installed_wheel_runs_the_demo_outside_the_checkout(installed, tmp_path):
    environment = _without((), tmp_path / "site")
    environment.pop("DISPLAY", None)
    path = run(installed, "-c", "import camrt; print(camrt.__file__)", cwd=tmp_path, env=environment)
    assert Path(path.strip()).is_relative_to(installed.parent.parent)
    output = tmp_path / "out"
    run(installed.parent / "camrt", "demo", "--frames", "5", "-o", output, cwd=tmp_path, env=environment)
    assert any(output.iterdir())


def test_the_runtime_works_without_torch_and_onnx(installed, tmp_path):
    environment = _without(TORCH_AND_ONNX, tmp_path / "site")
    code = (
        "import importlib.util as u; assert not any(map(u.find_spec, ('torch', 'onnx')));"
        "import numpy, camrt; from camrt import kernels; from camrt.runtime.assets import DEMO_MODEL;"
        "model = camrt.load(DEMO_MODEL);"
        "frame = numpy.zeros((48, 64, 3), numpy.uint8); print(model(frame).draw(frame).shape)"
    )
    assert run(installed, "-c", code, cwd=tmp_path, env=environment).strip() == "(48, 64, 3)"


def test_without_torch_and_onnx_the_export_error_names_its_extra(installed, tmp_path):
    environment = _without(TORCH_AND_ONNX, tmp_path / "site")
    code = "import camrt\ntry:\n    import camrt.export\nexcept camrt.CamrtError as error:\n    print(error)"
    assert "camrt[export]" in run(installed, "-c", code, cwd=tmp_path, env=environment)
    assert "--labels" in run(installed.parent / "camrt", "attach", "--help", cwd=tmp_path, env=environment)


def test_without_onnxruntime_the_error_names_the_extras_to_install(installed, tmp_path):
    environment = _without(ONNXRUNTIME, tmp_path / "site")
    code = (
        "import camrt; from camrt.runtime.assets import DEMO_MODEL\n"
        "try:\n    camrt.load(DEMO_MODEL)\n"
        "except camrt.CamrtError as error:\n    print(error)"
    )
    printed = run(installed, "-c", code, cwd=tmp_path, env=environment)
    assert "camrt[cpu]" in printed
    assert "camrt[gpu]" in printed


@pytest.mark.parametrize("missing", ["fastapi", "uvicorn"])
def test_without_the_server_the_error_of_the_browser_view_names_its_extra(installed, tmp_path, missing):
    environment = _without((missing,), tmp_path / "site")
    command = [installed.parent / "camrt", "live", REPOSITORY / "runtime/assets/demo.onnx", "--source", "synthetic"]
    done = subprocess.run([*command, "--serve", "0"], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"camrt: the browser view needs {missing}, which is not installed: pip install 'camrt[serve]'\n"
    )


def test_an_editable_install_imports_the_checkout(tmp_path):
    python = _environment(tmp_path)
    environment = _without((), tmp_path / "site")  # hatchling, which the install needs, is there
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-build-isolation"),
        *("--editable", REPOSITORY),
        env=environment,
    )
    path = run(python, "-c", "import camrt.runtime as r; print(r.__path__[0])", cwd=tmp_path, env=environment)
    assert (REPOSITORY / "runtime").samefile(path.strip())
