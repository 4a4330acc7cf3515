"""``camrt doctor``: its report, its exit status, and that each command it tells to paste mends what it was told for."""

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
    """Return the findings of one status, by subject."""
    done = camrt(python, "doctor", "--json")
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert done.returncode == int(any(finding["status"] == "problem" for finding in told))
    return {finding["subject"]: finding for finding in told if finding["status"] == status}


def problems(python):
    return findings(python, "problem")


def warnings(python):
    return findings(python, "warning")


def paste(python, mend):
    settings = {"PIP_CONSTRAINT": str(CONSTRAINTS), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = run("bash", "-ec", mend, timeout=600, **settings)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    """An environment to be broken and mended."""
    return new_environment(tmp_path_factory.mktemp("patient") / "venv")


def site(python):
    return next(python.parent.parent.glob("lib/python*/site-packages"))


def test_the_report_is_one_of_lines_and_one_of_json():
    done, told = here("doctor"), json.loads(here("doctor", "--json").stdout)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert [line.split(":")[0].split(maxsplit=1) for line in lines if not line.startswith(" ")][:-1] == [
        [finding["status"], finding["subject"]] for finding in told
    ]
    assert {key for finding in told for key in finding} == {"subject", "status", "text", "mend"}
    count = sum(finding["status"] == "warning" for finding in told)
    assert lines[-1] == (f"{count} warning{'s' * (count > 1)}" if count else "nothing is wrong")


@pytest.mark.slow
def test_kernels_that_cannot_be_kept_are_told_with_a_command_that_keeps_them(tmp_path):
    # As root nothing is read-only; a file where a folder is to be made cannot be written to by anybody.
    shutil.copytree(REPOSITORY / "src" / "camrt", tmp_path / "camrt", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("home", "camrt/kernels/__pycache__"):
        (tmp_path / name).write_text("")
    nowhere = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "IPYTHONDIR"), str(tmp_path / "home"))
    settings = environment(PYTHONPATH=str(tmp_path), PYTHONDONTWRITEBYTECODE="1", TMPDIR=str(tmp_path), **nowhere)

    def kernels(first="true"):
        command = f"{first}; exec {sys.executable} -m camrt.cli doctor --json"
        done = subprocess.run(["bash", "-ec", command], env=settings, capture_output=True, text=True, check=True)
        return next(finding for finding in json.loads(done.stdout) if finding["subject"] == "kernels")

    told = kernels()
    assert told["status"] == "warning"
    assert "compiled at every start" in told["text"]
    mended = kernels(told["mend"])
    assert mended["status"] == "ok"
    assert f"kept in {tmp_path}" in mended["text"]


@pytest.mark.slow
def test_what_is_missing_damaged_or_overwritten_is_mended_by_what_is_told(patient):
    (problem,) = problems(patient).values()
    assert (problem["subject"], problem["text"]) == ("onnxruntime", "not installed")
    paste(patient, problem["mend"])
    assert problems(patient) == {}

    shutil.rmtree(site(patient) / "numba" / "core")
    broken = problems(patient)
    assert set(broken) == {"numba", "kernels", "providers"}  # the last two need it
    assert "is damaged: " in broken["numba"]["text"]
    paste(patient, broken["numba"]["mend"])
    assert problems(patient) == {}

    pip_install(patient, "--no-deps", "opencv-python-headless")
    broken = problems(patient)
    assert "overwrite each other's files" in broken["opencv"]["text"]
    assert "opencv-python-headless" in warnings(patient)["window"]["text"]
    paste(patient, broken["opencv"]["mend"])
    assert problems(patient) == {}
    assert "window" not in warnings(patient)


@pytest.mark.slow
def test_a_wheel_for_a_gpu_that_is_not_there_is_mended(patient, no_nvidia):
    pip_install(patient, "--no-deps", "onnxruntime-gpu")
    pip_install(patient, "onnxruntime")
    broken = problems(patient)
    assert "overwrite each other's files" in broken["onnxruntime"]["text"]
    paste(patient, broken["onnxruntime"]["mend"])
    assert problems(patient) == {}
    warned = warnings(patient)
    for name in ("provider cuda", "provider tensorrt"):
        assert warned[name]["text"] == "cannot run: there is no NVIDIA GPU"
    paste(patient, warned["provider cuda"]["mend"])
    assert problems(patient) == {}
    assert not {"provider cuda", "provider tensorrt"} & warnings(patient).keys()


@pytest.mark.slow
def test_a_wheel_that_was_taken_away_takes_files_of_the_other_with_it(patient):
    pip_install(patient, "onnxruntime")
    pip_install(patient, "--no-deps", "onnxruntime-openvino")
    run(patient, "-m", "pip", "uninstall", "--yes", "onnxruntime-openvino")
    broken = problems(patient)
    assert "is damaged: " in broken["onnxruntime"]["text"]
    paste(patient, broken["onnxruntime"]["mend"])
    assert problems(patient) == {}
