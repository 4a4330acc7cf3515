"""Give inputs of a classifier besides the image a constant value."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from onnx import ModelProto, ValueInfoProto, helper, numpy_helper

from camrt.errors import UsageError

FixedInputs = Mapping[str, ArrayLike | str | Path]
"""A value for each input by name: a number, an array, or the path of a ``.npy`` file."""


def fix_inputs(model: ModelProto, values: FixedInputs) -> tuple[str, ...]:
    """Turn inputs into constants; changes the model in place.

    A number is repeated over the input's shape, with 1 for each open dimension. An array must have the shape.

    Returns: a sentence for each input.

    Raises:
        UsageError: no input has the name, or the value does not fit its shape and type.
    """
    sentences = []
    for name, value in values.items():
        inputs = {entry.name: entry for entry in model.graph.input}
        if name not in inputs:
            raise UsageError(f"the graph has no input {name!r} to fix; its inputs are: {', '.join(inputs)}")
        array = _fitting(inputs[name], _read(name, value))
        model.graph.initializer.append(numpy_helper.from_array(array, name))
        model.graph.input.remove(inputs[name])
        text = f"{array.reshape(-1)[0]}" if array.size and (array == array.reshape(-1)[0]).all() else "given numbers"
        sentences.append(f"Input {name!r}, {_shape_text(array.shape)}, is fixed to {text}.")
    return tuple(sentences)


def _read(name: str, value: ArrayLike | str | Path) -> NDArray[np.generic]:
    if not isinstance(value, (str, Path)):
        return np.asarray(value)
    if str(value).lower().endswith(".npy"):
        try:
            return np.asarray(np.load(value, allow_pickle=False))
        except (OSError, ValueError, EOFError) as error:
            raise UsageError(f"the value of input {name!r}, {value}, is no readable .npy file: {error}") from error
    text = str(value).strip().lower()
    try:
        return np.asarray(text == "true" if text in ("true", "false") else _number(text))
    except ValueError:
        raise UsageError(
            f"the value of input {name!r}, {value!r}, is neither a number, true, false nor a .npy file"
        ) from None


def _number(text: str) -> int | float:
    return int(text) if text.lstrip("+-").isdigit() else float(text)


def _fitting(entry: ValueInfoProto, value: NDArray[np.generic]) -> NDArray[np.generic]:
    tensor = entry.type.tensor_type
    dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    with np.errstate(all="ignore"):
        array = value.astype(dtype)
    if value.dtype.kind not in "fiub" or not (dtype.kind == "f" or np.array_equal(array, value)):
        raise UsageError(f"input {entry.name!r} takes {dtype.name} numbers, and its value has {value.dtype.name}")
    if not tensor.HasField("shape"):
        return array
    dimensions = [dimension.dim_value or None for dimension in tensor.shape.dim]
    if array.ndim == 0:
        return np.full([length or 1 for length in dimensions], array)
    if len(dimensions) != array.ndim or any(
        length not in (None, actual) for length, actual in zip(dimensions, array.shape, strict=True)
    ):
        raise UsageError(
            f"input {entry.name!r} has shape {_shape_text(dimensions)}, and its value {_shape_text(array.shape)}"
        )
    return array


def _shape_text(shape: "list[int | None] | tuple[int, ...]") -> str:
    return f"[{', '.join(str(length or '?') for length in shape)}]"
