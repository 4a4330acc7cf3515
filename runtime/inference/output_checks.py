"""Check the outputs that a model file gave for its first image: nothing of a file is taken on trust."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from camrt import model_file
from camrt.errors import ModelFileError
from camrt.model_file import Head


def check_outputs(path: Path, head: Head, outputs: Mapping[str, Any], margin: int) -> None:
    """Check types and shapes of the outputs, and that they fit each other.

    Args:
        path: the file, for the error.
        head: kind of the head.
        outputs: all outputs of `camrt.model_file.OUTPUTS`, for a batch of one.
        margin: cells on each side of a map that are not drawn.

    Raises:
        ModelFileError: they do not.
    """

    def require(name: str, shape: tuple[int | None, ...], *kinds: type[np.generic]) -> None:
        value = outputs[name]
        fits = (
            isinstance(value, np.ndarray)
            and value.dtype in kinds
            and value.ndim == len(shape)
            and all(side >= 1 and wanted in (None, side) for side, wanted in zip(value.shape, shape, strict=True))
        )
        if not fits:
            given = (
                f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
            )
            expected = ", ".join("any" if side is None else str(side) for side in shape)
            names = " or ".join(kind.__name__ for kind in kinds)
            raise ModelFileError(
                f"{path}: its output {name!r} is {given}, not {names} [{expected}]. Create it again with camrt attach"
            )

    maps = model_file.maps_output(head)
    require(model_file.LOGITS, (1, None), np.float32)
    classes = outputs[model_file.LOGITS].shape[1]
    require(model_file.SCORES, (1, classes), np.float32)
    require(maps, (1, None if maps == model_file.FEATURES else classes, None, None), np.float32, np.uint8)
    channels, height, width = outputs[maps].shape[1:]
    if model_file.CAM_WEIGHTS in model_file.OUTPUTS[head]:
        require(model_file.CAM_WEIGHTS, (classes, channels), np.float32)
    if model_file.CAM_BIAS in model_file.OUTPUTS[head]:
        require(model_file.CAM_BIAS, (classes,), np.float32)
    if 2 * margin >= min(height, width):
        raise ModelFileError(
            f"{path} says that {margin} cells on each side of its maps of {width}x{height} cells are padding, which "
            "leaves nothing. Create it again with camrt attach"
        )
