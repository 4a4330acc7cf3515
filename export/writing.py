"""Write a file whole or not at all."""

import contextlib
import os
from pathlib import Path

from google.protobuf.message import EncodeError
from onnx import ModelProto

from camrt.errors import ExportError, UsageError


def check_target(target: Path, source: Path | None, *, overwrite: bool) -> None:
    """Refuse a target that cannot or must not be written, before the work begins. Raises: UsageError."""
    if target.is_dir():
        raise UsageError(f"{target} is a folder; name the file to write")
    if not target.parent.is_dir():
        raise UsageError(f"there is no folder {target.parent}; make it first")
    if source is not None and target.exists() and source.exists() and target.samefile(source):
        raise UsageError(f"{target} is the classifier itself; give the model file another name")
    if target.exists() and not overwrite:
        raise UsageError(f"{target} exists; give another name, or --overwrite (overwrite=True)")


def write_model(model: ModelProto, target: Path) -> None:
    """Write a model as `write_whole` does. Raises: ExportError: as there, or it is too large."""
    try:
        data = model.SerializeToString()
    except (EncodeError, ValueError) as error:
        raise ExportError(f"{target} would be larger than the 2 GiB that one ONNX file can hold") from error
    write_whole(data, target)


def write_whole(data: bytes, target: Path) -> None:
    """Write a file beside the target, then put it in the target's place.

    Raises:
        ExportError: there is no space or no permission; nothing is left behind.
    """
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with beside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
    except OSError as error:
        raise ExportError(f"{target} cannot be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):  # the rename has moved it, or it was never made
            beside.unlink()
