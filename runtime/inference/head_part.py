"""Choose a head of a model file with several, and the part of the file that computes it."""

import mmap
from dataclasses import dataclass
from pathlib import Path

from camrt import model_file
from camrt.errors import ModelFileError, UsageError
from camrt.model_file import ModelInfo, output_of
from camrt.runtime.inference.onnx_part import metadata_of, output_names, part_for_outputs

_ENTRY = "camrt.heads"


@dataclass(frozen=True, slots=True)
class HeadPart:
    """The part of a model file that computes one head."""

    model: str | bytes
    """Path of the whole file if it has one head; else an ONNX model of this head only."""
    name: str | None = None
    """Name of the head; None: the file has one head, without a name."""
    further: str | None = None
    """The same, or None for the first head, as `camrt.model_file.output_of` takes it."""


def head_part(path: Path, head: str | None) -> HeadPart:
    """Return the part of a file that computes a head.

    Args:
        path: the file, accepted by `camrt.runtime.inference.onnx_header.check_before_opening`.
        head: name of the head; None: the first.

    Raises:
        UsageError: the file has no such head.
        ModelFileError: the file is damaged.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            entries = {key: value for key, value in metadata_of(data).items() if key == _ENTRY}
        heads = ModelInfo.from_metadata(entries).heads
        ModelInfo(heads=heads).of_head(head)  # raises
        if not heads:
            return HeadPart(str(path))
        name = head or heads[0].name
        further = None if name == heads[0].name else name
        return HeadPart(_cut(path.read_bytes(), further), name, further)
    except (ModelFileError, UsageError) as error:
        raise type(error)(f"{path}: {error}") from error
    except ValueError as error:
        raise ModelFileError(
            f"{path} is damaged ({error}). Copy it again, or create it again with camrt attach"
        ) from error


def _cut(data: bytes, further: str | None) -> bytes:
    """Return the part of a file that computes a head. Raises: ModelFileError; ValueError: it is not protobuf."""
    standard = {output for outputs in model_file.OUTPUTS.values() for output in outputs}
    outputs = {output_of(further, output) for output in standard} & set(output_names(data))
    if output_of(further, model_file.SCORES) not in outputs:
        raise ModelFileError(
            f"its metadata has {'the head ' + repr(further) if further else 'several heads'}, and its outputs do not; "
            "create it again with camrt attach"
        )
    return part_for_outputs(data, outputs)
