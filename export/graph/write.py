"""Write an ONNX model to a file."""

from pathlib import Path

from google.protobuf.message import EncodeError
from onnx import ModelProto

from camrt.errors import ExportError
from camrt.files import write_file


def write_model(model: ModelProto, target: Path) -> None:
    """Write a model as `camrt.files.write_file` does.

    Raises:
        ExportError: the model exceeds the 2 GiB of one ONNX file.
        DiskFull, SinkError: the file cannot be written.
    """
    try:
        data = model.SerializeToString()
    except (EncodeError, ValueError) as error:
        raise ExportError(
            f"{target} would exceed the 2 GiB of one ONNX file; export a smaller network or half-precision weights"
        ) from error
    write_file(target, data)
