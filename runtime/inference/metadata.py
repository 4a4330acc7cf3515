"""Read the metadata of an opened model file, and check that they fit its inputs and outputs."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from camrt import model_file
from camrt.errors import ModelFileError, NoModelFile
from camrt.model_file import InputGeometry, ModelInfo
from camrt.runtime.inference.session import OpenedSession


def read_info(
    path: Path, opened: OpenedSession, labels: Sequence[str] | None, geometry: InputGeometry | None
) -> ModelInfo:
    """Return the metadata of the opened head, with the values of the caller. Raises: ModelFileError."""
    session = opened.session
    inputs = {node.name: node for node in session.get_inputs()}
    suffix = model_file.output_of(opened.part.further, "")
    outputs = {node.name.removesuffix(suffix): node.shape for node in session.get_outputs()}
    outputs |= {name: list(value.shape) for name, value in opened.constants.items()}
    heads = model_file.matching_heads(outputs)
    if model_file.IMAGE not in inputs or len(inputs) != 1 or not heads:
        raise NoModelFile(
            f"{path} is an ONNX model (inputs: {', '.join(inputs)}; outputs: {', '.join(outputs)}) but not a model "
            f"file of camrt, which has an input 'image' and the convolution features as an output. Make one: "
            f"camrt attach {path} -o {path.stem}.cam.onnx"
        )
    try:
        info = ModelInfo.from_metadata(session.get_modelmeta().custom_metadata_map).of_head(opened.part.name)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from error
    info = replace(info, head=info.head or heads[0])
    if info.head not in heads:
        raise ModelFileError(
            f"{path} says head {info.head!r} but its outputs are {', '.join(outputs)}; create it again"
        )
    if labels is not None:
        info = replace(info, labels=tuple(labels))
    if geometry is not None:
        info = replace(info, geometry=geometry)
    classes = outputs[model_file.LOGITS][-1]
    if info.labels is not None and isinstance(classes, int) and len(info.labels) != classes:
        raise ModelFileError(f"{path} has {classes} classes but {len(info.labels)} labels; pass the right labels")
    if info.geometry is None:
        raise ModelFileError(
            f"{path} does not say how a frame becomes its input. Create it again with camrt attach; in Python, "
            "camrt.load takes a geometry"
        )
    return info
