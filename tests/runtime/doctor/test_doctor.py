"""`examine` reports the state of this environment and of broken ones, each subject in a process of its own."""

import subprocess
import sys
from dataclasses import asdict

import av
import cv2
import numpy as np
import PIL
import pillow_heif
import pytest
from av.codec.hwaccel import hwdevices_available

from camrt.cores import usable_cores
from camrt.kernels import cache_folder
from camrt.runtime.doctor import SUBJECTS, examine
from camrt.runtime.doctor.finding import OK, PROBLEM, WARNING, pip
from camrt.runtime.inference.shared_libraries import wheels_of
from support.desktop import desktop

pytestmark = pytest.mark.process


def findings_of(*subjects, timeout_s=120.0):
    """Return the findings of some subjects, by their own subject, which is unique."""
    findings = list(examine(subjects, timeout_s))
    by_subject = {finding.subject: finding for finding in findings}
    assert len(by_subject) == len(findings)
    return by_subject


@pytest.fixture
def no_display(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)


def test_this_environment_has_no_problem(no_display):
    findings = findings_of(*SUBJECTS)
    assert {name: asdict(finding) for name, finding in findings.items() if finding.status == PROBLEM} == {}
    assert findings["numpy"].text == f"numpy {np.__version__}"
    assert findings["onnxruntime"].text in wheels_of("onnxruntime")
    assert findings["pyav"].text.startswith(f"av {av.__version__} reads interlaced video")
    assert findings["pillow"].text.startswith(f"pillow {PIL.__version__} reads ")
    assert findings["pillow-heif"].text.endswith(f"{pillow_heif.__version__} reads HEIC")
    assert findings["cores"].text.startswith(f"{usable_cores()}")
    assert findings["provider cpu"].text == "runs the demo model in fp32"
    assert findings["video"].text.startswith("MPEG-4 can be written and read (with FFMPEG")
    assert findings["h264"].status == OK
    assert all(f"{name}: " in findings["hardware decoding"].text for name in hwdevices_available())
    assert findings["kernels"].text.endswith(f"cached in {cache_folder()}")
    assert findings["window"].text.startswith("cannot be opened: no display (DISPLAY is not set)")
    for finding in findings.values():
        assert len(finding.text.splitlines()) == 1


@pytest.mark.window
def test_the_display_is_checked(tmp_path, monkeypatch, no_display):
    with desktop(tmp_path) as screen:
        monkeypatch.setenv("DISPLAY", screen.display)
        assert findings_of("opencv")["window"].text == f"can be opened, with {cv2.currentUIFramework()}"
    monkeypatch.setenv("DISPLAY", ":77")
    assert "display :77 does not answer" in findings_of("opencv")["window"].text


def test_fixes_use_the_pip_of_this_python(monkeypatch):
    # With another pip first on the path, the command has the full name of this Python.
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    version = subprocess.run(["bash", "-ec", pip("--version")], capture_output=True, text=True, check=True).stdout
    assert f"{sys.prefix}/" in version


def test_a_crash_or_a_hang_is_a_finding(tmp_path, monkeypatch):
    # A package that crashes the process on import, as a damaged one in C++ does.
    (tmp_path / "onnxruntime.py").write_text("import os\nos.abort()\n")
    monkeypatch.syspath_prepend(tmp_path)
    (providers,) = findings_of("providers").values()
    assert (providers.subject, providers.status) == ("providers", PROBLEM)
    assert "ended with signal 6" in providers.text
    (tmp_path / "onnxruntime.py").write_text("import subprocess\nsubprocess.run(['sleep', '600'])\n")
    (providers,) = findings_of("providers", timeout_s=3.0).values()
    assert "did not end within 3 s" in providers.text


def test_a_pyav_that_is_not_used_is_a_warning(tmp_path, monkeypatch):
    (tmp_path / "av.py").write_text("__version__ = '17.0.1'\n")
    monkeypatch.syspath_prepend(tmp_path)
    pyav = findings_of("packages")["pyav"]
    assert pyav.status == WARNING
    assert pyav.text.endswith(" is too old and is not used")
    assert "install 'av>=18.0'" in pyav.fix


def test_output_of_libraries_is_no_finding(tmp_path, monkeypatch):
    (tmp_path / "numba.py").write_text("print('hello')\nprint('{}')\nraise OSError('llvmlite is too old')\n")
    monkeypatch.syspath_prepend(tmp_path)
    findings = findings_of("packages", "kernels")
    assert findings["numba"].status == findings["kernels"].status == PROBLEM
    assert findings["numba"].text == "cannot be imported: llvmlite is too old"
    assert findings["kernels"].text == "cannot be compiled: OSError: llvmlite is too old"
