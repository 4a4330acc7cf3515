"""Files that Custom Vision's export puts beside the ONNX file: ``metadata_properties.json``, ``cvexport.manifest``.

Its labels are in ``labels.txt``, which `label_file` reads. Mean and std count for pixels from 0 to 255.
"""

import json
from pathlib import Path
from typing import Any, Final

from camrt.errors import UsageError
from camrt.export.source_metadata.beside import read_json
from camrt.export.source_metadata.onnx_image import read_onnx_image
from camrt.export.source_metadata.statement import Numbers, Statement, crop_to, float_tuple

NAME: Final = "metadata_properties.json"
_KEY: Final = "CustomVision."


def read_custom_vision(folder: Path) -> Statement | None:
    """Return what Custom Vision's file in a folder states; None: there is none.

    Raises:
        UsageError: the file cannot be read, or says that the network is a detector.
    """
    entries = read_json(folder / NAME)
    if not isinstance(entries, dict) or not any(str(key).startswith(_KEY) for key in entries):
        return None
    values = {str(key): str(value) for key, value in entries.items()}
    if "yolo" in values.get(f"{_KEY}Postprocess.Method", "").lower():
        raise UsageError(f"{NAME} beside the file says that it is a detector; export a project that classifies")
    image = read_onnx_image(values, place=NAME) or Statement(place=NAME)
    numbers = image.numbers
    mean, std = (_list(values, f"{_KEY}Preprocess.Normalize{name}") for name in ("Mean", "Std"))
    if mean is not None and std is not None and (set(mean), set(std)) != ({0.0}, {1.0}):
        numbers = Numbers(1.0, mean, std)
    crop, target = (_size(values, f"{_KEY}Preprocess.{name}") for name in ("Crop", "Target"))
    is_crop = crop is not None and "crop" in values.get(f"{_KEY}Preprocess.CropMethod", "").lower()
    return Statement(
        place=NAME,
        channels=image.channels,
        numbers=numbers,
        size=crop if is_crop else target,
        resize=crop_to(crop, None if target is None else min(target)) if is_crop else ("stretch", None),
        activation="sigmoid" if "multilabel" in values.get(f"{_KEY}Postprocess.Method", "").lower() else None,
        notes=image.notes,
    )


def _list(values: dict[str, str], key: str) -> tuple[float, ...] | None:
    try:
        value: Any = json.loads(values.get(key, "null"))
    except json.JSONDecodeError:
        value = values[key]
    return None if value is None else float_tuple(value, f"{NAME}: {key}")


def _size(values: dict[str, str], prefix: str) -> tuple[int, int] | None:
    width, height = (values.get(f"{prefix}{side}", "0") for side in ("Width", "Height"))
    if not (width.isdecimal() and height.isdecimal()) or int(width) * int(height) == 0:
        return None
    return int(width), int(height)
