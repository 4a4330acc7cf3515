"""``camrt doctor``: its report, its exit status, and the commands that fix each problem."""

import json
import shutil
import subprocess
import sys

import pytest

from support import REPOSITORY
from support.command import camrt as here
from support.needs import environment
from support.wheels import CONSTRAINTS, camrt, new_environment, pip_install, run

pytestmark = pytest.mark.process


def findings(python, status):
    """Return the findings with a status, by subject."""
    done = camrt(python, "doctor", "--json")
    assert done.stderr == ""
    report = json.loads(done.stdout)
    assert done.returncode == int(any(finding["status"] == "problem" for finding in report))
    return {finding["subject"]: finding for finding in report if finding["status"] == status}


def problems(python):
    return findings(python, "problem")


def warnings(python):
    return findings(python, "warning")


def paste(python, fix):
    settings = {"PIP_CONSTRAINT": str(CONSTRAINTS), "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_COMPILE": "no"}
    done = run("bash", "-ec", fix, timeout=600, **settings)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """An environment that tests damage and fix."""
    return new_environment(tmp_path_factory.mktemp("broken") / "venv")


def site(python):
    return next(python.parent.parent.glob("lib/python*/site-packages"))


def test_text_and_json_report_the_same_findings():
    done, report = here("doctor"), json.loads(here("doctor", "--json").stdout)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert [line.split(":")[0].split(maxsplit=1) for line in lines if not line.startswith(" ")][:-1] == [
        [finding["status"], finding["subject"]] for finding in report
    ]
    assert {key for finding in report for key in finding} == {"subject", "status", "text", "fix"}
    count = sum(finding["status"] == "warning" for finding in report)
    assert lines[-1] == (f"{count} warning{'s' * (count > 1)}" if count else "no problems")


@pytest.mark.slow
def test_kernels_without_a_cache_are_a_warning_with_a_fix(tmp_path):
    # For root nothing is read-only, so a file stands where Numba would create a folder.
    shutil.copytree(REPOSITORY / "src" / "camrt", tmp_path / "camrt", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("home", "camrt/kernels/__pycache__"):
        (tmp_path / name).write_text("")
    nowhere = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "IPYTHONDIR"), str(tmp_path / "home"))
    settings = environment(PYTHONPATH=str(tmp_path), PYTHONDONTWRITEBYTECODE="1", TMPDIR=str(tmp_path), **nowhere)

    def kernels(first="true"):
        command = f"{first}; exec {sys.executable} -m camrt.cli doctor --json"
        done = subprocess.run(["bash", "-ec", command], env=settings, capture_output=True, text=True, check=True)
        return next(finding for finding in json.loads(done.stdout) if finding["subject"] == "kernels")

    finding = kernels()
    assert finding["status"] == "warning"
    assert "compiled at every start" in finding["text"]
    fixed = kernels(finding["fix"])
    assert fixed["status"] == "ok"
    assert f"cached in {tmp_path}" in fixed["text"]


@pytest.mark.slow
def test_the_fix_of_a_missing_damaged_or_overwritten_package_works(broken):
    (problem,) = problems(broken).values()
    assert (problem["subject"], problem["text"]) == ("onnxruntime", "not installed")
    paste(broken, problem["fix"])
    assert problems(broken) == {}

    shutil.rmtree(site(broken) / "numba" / "core")
    report = problems(broken)
    assert set(report) == {"numba", "kernels", "providers"}  # the last two need it
    assert "is damaged: " in report["numba"]["text"]
    paste(broken, report["numba"]["fix"])
    assert problems(broken) == {}

    pip_install(broken, "--no-deps", "opencv-python-headless")
    report = problems(broken)
    assert "overwrite each other's files" in report["opencv"]["text"]
    assert "opencv-python-headless" in warnings(broken)["window"]["text"]
    paste(broken, report["opencv"]["fix"])
    assert problems(broken) == {}
    assert "window" not in warnings(broken)


@pytest.mark.slow
def test_the_fix_of_a_gpu_wheel_without_a_gpu_works(broken, no_nvidia):
    pip_install(broken, "--no-deps", "onnxruntime-gpu")
    pip_install(broken, "onnxruntime")
    report = problems(broken)
    assert "overwrite each other's files" in report["onnxruntime"]["text"]
    paste(broken, report["onnxruntime"]["fix"])
    assert problems(broken) == {}
    report = warnings(broken)
    for name in ("provider cuda", "provider tensorrt"):
        assert report[name]["text"] == "cannot run: there is no NVIDIA GPU"
    paste(broken, report["provider cuda"]["fix"])
    assert problems(broken) == {}
    assert not {"provider cuda", "provider tensorrt"} & warnings(broken).keys()


@pytest.mark.slow
def test_the_fix_after_uninstalling_an_overwriting_wheel_works(broken):
    pip_install(broken, "onnxruntime")
    pip_install(broken, "--no-deps", "onnxruntime-openvino")
    run(broken, "-m", "pip", "uninstall", "--yes", "onnxruntime-openvino")
    report = problems(broken)
    assert "is damaged: " in report["onnxruntime"]["text"]
    paste(broken, report["onnxruntime"]["fix"])
    assert problems(broken) == {}


@pytest.mark.slow
def test_a_missing_optional_package_is_a_warning_with_a_fix(broken):
    optional = {"pyav": "interlaced video", "pillow": "deep TIFF", "pillow-heif": "HEIC"}
    report = warnings(broken)
    assert optional.keys() <= report.keys()
    for subject, kind in optional.items():
        assert report[subject]["text"].startswith("not installed; it reads ")
        assert kind in report[subject]["text"]
        paste(broken, report[subject]["fix"])
    assert not optional.keys() & warnings(broken).keys()
