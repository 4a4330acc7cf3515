"""The door for classifiers that somebody else exported to ONNX."""

from collections.abc import Sequence
from pathlib import Path

from camrt.export.convert import Report, Request, convert
from camrt.export.preprocessing import IMAGENET_MEAN, IMAGENET_SCALE, IMAGENET_STD, Channels, Preprocessing
from camrt.export.source_model import read_classifier
from camrt.export.writing import check_target
from camrt.model_file import Activation, Interpolation, Resize


def attach(
    source: str | Path,
    target: str | Path,
    *,
    labels: Sequence[str] | str | Path | None = None,
    output: str | None = None,
    scale: float = IMAGENET_SCALE,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    channels: Channels = "rgb",
    resize: Resize = "stretch",
    shorter_side: int | None = None,
    interpolation: Interpolation = "linear",
    size: tuple[int, int] | None = None,
    activation: Activation | None = None,
    pictures: str | Path | Sequence[str | Path] | None = None,
    overwrite: bool = False,
) -> Report:
    """Make a model file of an ONNX classifier with a global average pool and one linear layer.

    Network input = (pixel * scale - mean) / std.

    Args:
        source: the classifier; float input [N, 3, H, W], output [N, K].
        target: the model file to write.
        labels: names of the classes, or a UTF-8 text file with one a line.
        output: which of the source's outputs gives the scores; needed where several could.
        scale: what pixels in 0..255 are multiplied with.
        mean: three numbers in the network's channel order, in units of pixel * scale.
        std: like ``mean``.
        channels: the order that the network wants.
        resize: how a frame becomes the network's input; see `camrt.model_file.InputGeometry`.
        shorter_side: for ``resize="crop"``: pixels of the frame's shorter side before the centre is cut out.
        interpolation: ``linear`` or ``area``.
        size: (width, height) in pixels, for a network that leaves it open.
        activation: what turns logits into scores; None: as the graph has it, softmax if it ends in logits.
        pictures: a folder or files to verify on; None: synthetic ones.
        overwrite: replace an existing target.

    Raises:
        HeadNotFound: the head is none that a class activation map explains.
        ExportError: the classifier cannot be read or converted, or fails its verification; nothing is written.
        UsageError: what was asked for does not fit the classifier, or the target exists.
        MissingExtra: ONNX Runtime is not installed.
    """
    source, target = Path(source), Path(target)
    preprocessing = Preprocessing(channels=channels, scale=scale, mean=mean, std=std)
    request = Request(
        labels=labels,
        output=output,
        preprocessing=preprocessing,
        resize=resize,
        shorter_side=shorter_side,
        interpolation=interpolation,
        size=size,
        activation=activation,
        pictures=pictures,
    )
    check_target(target, source, overwrite=overwrite)
    return convert(read_classifier(source), target, request, {"file": source.name})
