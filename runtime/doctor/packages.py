"""Check the Python packages: missing, damaged, or overwriting each other."""

import importlib.metadata
import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Final

from camrt.runtime.doctor.finding import OK, PROBLEM, WARNING, Finding, pip, swap
from camrt.runtime.inference.providers import onnxruntime
from camrt.runtime.inference.shared_libraries import wheels_of

# System libraries that OpenCV's wheel needs and small containers lack, and the Debian packages that contain them.
_SYSTEM_LIBRARIES: Final = ("libGL.so", "libgthread-2.0.so", "libxcb.so")
_SYSTEM_PACKAGES: Final = "sudo apt-get update && sudo apt-get install -y libgl1 libglib2.0-0 libxcb1"

_OPTIONAL: Final = (
    ("pyav", "av", "av>=18.0", "reads interlaced video and AV1, and writes H.264 and sound"),
    ("pillow", "PIL", "pillow>=11.3", "reads AVIF, deep TIFF and PNG, pages and animations"),
    ("pillow-heif", "pillow_heif", "pillow-heif>=1.0", "reads HEIC"),
)
"""Subject, import package, requirement and purpose of each package of the extras ``video`` and ``images``."""


def findings() -> Iterator[Finding]:
    """Yield one finding per package that camrt needs or can use."""
    yield _check("numpy", "numpy", "numpy", lambda: importlib.import_module("numpy"))
    yield _check("numba", "numba", "numba", lambda: importlib.import_module("numba"))
    yield _check("onnxruntime", "onnxruntime", "onnxruntime", onnxruntime)
    yield _telemetry()
    yield _check("opencv", "cv2", "opencv-python", lambda: importlib.import_module("cv2"))
    yield from _optional()
    yield _export()


def _check(subject: str, package: str, default: str, load: Callable[[], object]) -> Finding:
    """Check that exactly one wheel installs a package, that it is complete, and that it can be imported.

    Args:
        subject: subject of the finding.
        package: name of the import package.
        default: wheel to install if there is none.
        load: imports the package.
    """
    wheels = wheels_of(package)
    if len(wheels) > 1:
        # Of several ONNX Runtime wheels, the user most likely wants the one with the longer name, such as
        # onnxruntime-gpu. Of OpenCV's, the default has windows.
        chosen = default if package == "cv2" else max((wheel.split()[0] for wheel in wheels), key=len)
        text = f"{' and '.join(wheels)} overwrite each other's files, so Python may load either of them"
        return Finding(subject, PROBLEM, text, swap(package, chosen))
    if not wheels and importlib.util.find_spec(package) is None:
        return Finding(subject, PROBLEM, "not installed", pip(f"install {default}"))
    if wheels and (missing := _missing_files(wheels[0])):
        text = f"{wheels[0]} is damaged: {len(missing)} of its files are missing, for example {missing[0]}"
        return Finding(subject, PROBLEM, text, _reinstall(wheels[0]))
    try:
        load()
    except Exception as error:  # noqa: BLE001 - a damaged package raises anything
        reason = " ".join(str(error.__cause__ or error).split())
        fix = _reinstall(wheels[0]) if wheels else None
        if any(library in reason for library in _SYSTEM_LIBRARIES):
            fix = _SYSTEM_PACKAGES if shutil.which("apt-get") else None
        return Finding(subject, PROBLEM, f"cannot be imported: {reason}", fix)
    return Finding(subject, OK, wheels[0] if wheels else "can be imported, but was not installed from a wheel")


def _optional() -> Iterator[Finding]:
    """Check the packages that read and write more kinds of videos and images; camrt works without them."""
    for subject, package, wheel, purpose in _OPTIONAL:
        if not wheels_of(package) and importlib.util.find_spec(package) is None:
            yield Finding(subject, WARNING, f"not installed; it {purpose}", pip(f"install '{wheel}'"))
            continue
        finding = _check(subject, package, wheel, partial(importlib.import_module, package))
        if finding.status == OK and package == "av" and not _has_pyav():
            yield Finding(subject, WARNING, f"{finding.text} is too old and is not used", pip(f"install '{wheel}'"))
        else:
            yield replace(finding, text=f"{finding.text} {purpose}") if finding.status == OK else finding


def _has_pyav() -> bool:
    try:
        from camrt.video_decoding.capture import has_pyav
    except ImportError:  # a finding of OpenCV
        return True
    return has_pyav()


def _missing_files(wheel: str) -> list[str]:
    """Return the files of a wheel that are missing in ``site-packages``."""
    files = importlib.metadata.distribution(wheel.split()[0]).files or []
    # The list also has scripts, as ../../../bin/NAME, and bytecode of pip. Both may be elsewhere or missing.
    code = (file for file in files if file.suffix != ".pyc" and file.parts[0] != "..")
    return [str(file) for file in code if not file.locate().exists()]  # type: ignore[attr-defined]


def _reinstall(wheel: str) -> str:
    name, version = wheel.split()
    return pip(f"install --force-reinstall --no-deps {name}=={version}")


def _telemetry() -> Finding:
    """Check that ONNX Runtime sends no usage data; ``camrt`` sets the variable on import unless the user has set it."""
    value = os.environ.get("ORT_DISABLE_TELEMETRY", "")
    if value == "1":
        return Finding("telemetry", OK, "ONNX Runtime sends no usage data (ORT_DISABLE_TELEMETRY=1)")
    text = f"ONNX Runtime 1.32 and newer may send usage data to its maker (ORT_DISABLE_TELEMETRY={value!r})"
    return Finding("telemetry", WARNING, text, "export ORT_DISABLE_TELEMETRY=1")


def _export() -> Finding:
    versions = []
    for name in ("onnx", "torch"):
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    text = " and ".join(versions) or "neither onnx nor torch"
    return Finding("export", OK, f"{text}; only camrt attach (onnx) and camrt export (onnx, torch) need them")
