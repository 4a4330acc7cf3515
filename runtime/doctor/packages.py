"""Python packages: which are here, which overwrite each other, which are damaged."""

import importlib.metadata
import importlib.util
import shutil
from collections.abc import Callable, Iterator
from typing import Final

from camrt.runtime.doctor.finding import OK, PROBLEM, Finding, pip, swap
from camrt.runtime.inference.providers import onnxruntime
from camrt.runtime.inference.shared_libraries import wheels_of

# What OpenCV's wheel needs of a system and small containers lack, and the packages of Debian that have it.
_SYSTEM_LIBRARIES: Final = ("libGL.so", "libgthread-2.0.so", "libxcb.so")
_SYSTEM_PACKAGES: Final = "sudo apt-get update && sudo apt-get install -y libgl1 libglib2.0-0 libxcb1"


def findings() -> Iterator[Finding]:
    """Yield what is installed of what camrt needs."""
    yield _only("numpy", "numpy", "numpy", lambda: importlib.import_module("numpy"))
    yield _only("numba", "numba", "numba", lambda: importlib.import_module("numba"))
    yield _only("onnxruntime", "onnxruntime", "onnxruntime", onnxruntime)
    yield _only("opencv", "cv2", "opencv-python", lambda: importlib.import_module("cv2"))
    yield _export()


def _only(subject: str, package: str, wanted: str, load: Callable[[], object]) -> Finding:
    """Judge what brings a package: there must be one wheel of it, whole, that can be imported.

    ``wanted`` is the wheel to install where there is none.
    """
    wheels = wheels_of(package)
    if len(wheels) > 1:
        # What was added to ONNX Runtime's plain wheel is what was wanted, most likely; a window is wanted always.
        kept = wanted if package == "cv2" else max((wheel.split()[0] for wheel in wheels), key=len)
        text = f"{' and '.join(wheels)} overwrite each other's files; which of them is loaded is chance"
        return Finding(subject, PROBLEM, text, swap(package, kept))
    if not wheels and importlib.util.find_spec(package) is None:
        return Finding(subject, PROBLEM, "not installed", pip(f"install {wanted}"))
    if wheels and (gone := _gone(wheels[0])):
        text = f"{wheels[0]} is damaged: {len(gone)} of its files are gone, {gone[0]} for one"
        return Finding(subject, PROBLEM, text, _reinstall(wheels[0]))
    try:
        load()
    except Exception as error:  # noqa: BLE001 - what is damaged raises anything
        reason = " ".join(str(error.__cause__ or error).split())
        mend = _reinstall(wheels[0]) if wheels else None
        if any(library in reason for library in _SYSTEM_LIBRARIES):
            mend = _SYSTEM_PACKAGES if shutil.which("apt-get") else None
        return Finding(subject, PROBLEM, f"cannot be imported: {reason}", mend)
    return Finding(subject, OK, wheels[0] if wheels else "not from a wheel, but it can be imported")


def _gone(wheel: str) -> list[str]:
    """Return the files that a wheel brought to ``site-packages`` and that are gone."""
    files = importlib.metadata.distribution(wheel.split()[0]).files or []
    # Scripts are listed too, as ../../../bin/NAME, and what pip compiled: both may be elsewhere or gone.
    code = (file for file in files if file.suffix != ".pyc" and file.parts[0] != "..")
    return [str(file) for file in code if not file.locate().exists()]  # type: ignore[attr-defined]


def _reinstall(wheel: str) -> str:
    name, version = wheel.split()
    return pip(f"install --force-reinstall --no-deps {name}=={version}")


def _export() -> Finding:
    here = []
    for name in ("onnx", "torch"):
        try:
            here.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    text = f"has {' and '.join(here)}" if here else "has neither onnx nor torch"
    return Finding("export", OK, f"{text}; only camrt attach (onnx) and camrt export (onnx, torch) need them")
