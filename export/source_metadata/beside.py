"""Read the files beside a classifier."""

import json
from pathlib import Path
from typing import Any

from camrt.errors import UsageError


def read_json(path: Path) -> Any:
    """Return the content of a JSON file; None: there is no such file.

    Raises:
        UsageError: the file cannot be read, or is no JSON.
    """
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"{path} beside the classifier cannot be read: {error.strerror}") from error
    except ValueError as error:  # also text that is not UTF-8
        raise UsageError(f"{path} beside the classifier is not JSON ({error}); correct or remove it") from error


def folders_of(path: Path) -> tuple[Path, ...]:
    """Return the folders that describe a classifier: its own, and the one above a folder ``onnx`` (Hugging Face)."""
    folder = path.absolute().parent
    return (folder, folder.parent) if folder.name == "onnx" else (folder,)
