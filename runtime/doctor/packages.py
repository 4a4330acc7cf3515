"""Python packages: which are here, which overwrite each other, which are damaged."""

import importlib.metadata
from collections.abc import Iterator, Sequence
from typing import Final

from camrt.runtime.doctor.finding import OK, PROBLEM, WARNING, Finding
from camrt.runtime.libraries import wheels_with

_NEEDED: Final = ("numpy", "numba")
_ONNXRUNTIME, _OPENCV = "onnxruntime/__init__.py", "cv2/__init__.py"


def findings() -> Iterator[Finding]:
    """Yield what is installed of what camrt needs."""
    for name in _NEEDED:
        yield _needed(name)
    yield _exclusive("onnxruntime", wheels_with(_ONNXRUNTIME), "pip install 'camrt[cpu]'", PROBLEM)
    yield _exclusive("opencv", wheels_with(_OPENCV), "pip install opencv-python", WARNING)
    yield _export()


def _needed(name: str) -> Finding:
    version = _version(name)
    if version is None:
        return Finding(name, PROBLEM, "not installed", f"pip install {name}")
    return _whole(name, f"{name} {version}")


def _exclusive(subject: str, wheels: Sequence[str], install: str, twice: str) -> Finding:
    """Judge the wheels that all bring the same package; there must be one."""
    if not wheels:
        return Finding(subject, PROBLEM, "no wheel of it is installed", install)
    names = [wheel.split()[0] for wheel in wheels]
    if len(wheels) > 1:
        # The one with the most in it is what was wanted last, most likely.
        kept = max(names, key=len) if subject == "onnxruntime" else "opencv-python"
        return Finding(
            subject,
            twice,
            f"{' and '.join(wheels)} overwrite each other's files; which of them is loaded is chance",
            f"pip uninstall -y {' '.join(names)} && pip install {kept}",
        )
    return _whole(subject, wheels[0])


def _whole(subject: str, wheel: str) -> Finding:
    """Find the files that a wheel brought and that are gone."""
    name, version = wheel.split()
    files = importlib.metadata.distribution(name).files or []
    # pip lists what it compiled, which may go at any time.
    gone = [str(file) for file in files if file.suffix != ".pyc" and not file.locate().exists()]  # type: ignore[attr-defined]
    if not gone:
        return Finding(subject, OK, wheel)
    return Finding(
        subject,
        PROBLEM,
        f"{wheel} is damaged: {len(gone)} of its {len(files)} files are gone, {gone[0]} for one",
        f"pip install --force-reinstall --no-deps {name}=={version}",
    )


def _export() -> Finding:
    here = {name: version for name in ("onnx", "torch") if (version := _version(name))}
    text = ", ".join(f"{name} {version}" for name, version in here.items())
    if "onnx" in here:
        return Finding("export", OK, f"{text}: models can be made here" + ("" if "torch" in here else " from ONNX"))
    return Finding("export", OK, f"{text or 'onnx and torch are not installed'}; only attach and export need them")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
