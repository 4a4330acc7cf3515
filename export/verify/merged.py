"""Prove that each head of a merged file gives what its own file gives."""

from collections.abc import Mapping

from onnx import ModelProto

from camrt.errors import ExportError
from camrt.export.graph.session import open_session, run_session
from camrt.export.graph.synthetic_images import Images
from camrt.export.verify.checks import TOLERANCE, check_valid, relative_error
from camrt.model_file import output_of

_NAME = "the graph of all heads"


def verify_merged(merged: ModelProto, models: Mapping[str, ModelProto], images: Images) -> None:
    """Run the merged model and the model of each head on the same images, and compare all outputs.

    Args:
        merged: of `camrt.export.merge_heads.merge_heads`.
        models: the verified model of each head, by its name, the first head first.
        images: uint8 (N, H, W, 3), BGR, at the network's size.

    Raises:
        ExportError: the merged model is not valid, cannot run, or an output differs by more than `TOLERANCE`; ONNX
            Runtime may fuse operators differently.
    """
    check_valid(merged)
    names = [output.name for output in merged.graph.output]
    session = open_session(merged, _NAME)
    together = [dict(zip(names, run_session(session, names, image[None], _NAME), strict=True)) for image in images]
    for number, (head, model) in enumerate(models.items()):
        outputs = [output.name for output in model.graph.output]
        session = open_session(model, "the new graph")
        for image, values in zip(images, together, strict=True):
            alone = run_session(session, outputs, image[None], "the new graph")
            for output, expected in zip(outputs, alone, strict=True):
                error = relative_error(values[output_of(head if number else None, output)], expected)
                if not error <= TOLERANCE:
                    raise ExportError(
                        f"verification failed: {output} of head {head!r} differs by {error:.1e} in the file of all "
                        "heads; nothing was written. Make a file for each head, with one --output each"
                    )
