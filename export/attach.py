"""The door for classifiers that somebody else exported to ONNX."""

from collections.abc import Sequence
from pathlib import Path

from camrt.export.convert import Report, Request, convert
from camrt.export.graph.preprocessing import Channels, Pixels
from camrt.export.graph.read import read_classifier
from camrt.files import check_target
from camrt.model_file import Activation, Interpolation, Resize


def attach(
    source: str | Path,
    target: str | Path,
    *,
    labels: Sequence[str] | str | Path | None = None,
    output: str | None = None,
    layer: str | None = None,
    scale: float | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    channels: Channels | None = None,
    resize: Resize = "stretch",
    shorter_side: int | None = None,
    interpolation: Interpolation = "linear",
    size: tuple[int, int] | None = None,
    activation: Activation | None = None,
    pictures: str | Path | Sequence[str | Path] | None = None,
    overwrite: bool = False,
) -> Report:
    """Make a model file of an ONNX classifier.

    Network input = (pixel * scale - mean) / std.

    Args:
        source: the classifier; one input, [N, C, H, W] or [N, H, W, C] with three channels or one, floats or bytes;
            output [N, K].
        target: the model file to write.
        labels: names of the classes, or a UTF-8 text file with one a line.
        output: which of the source's outputs gives the scores; needed where several could.
        layer: the feature map to show, a tensor's name; None: the last.
        scale: what pixels in 0..255 are multiplied with; None: 1/255, or 1 where the network takes bytes.
        mean: one number a channel, in the network's order, in units of pixel * scale; None: ImageNet's for colour
            pictures in floats, else 0.
        std: like ``mean``; None: ImageNet's, or 1.
        channels: the order that the network wants; None: rgb, or grey where it has one channel.
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
        SourceError: an image cannot be read.
        SinkError: the file cannot be written.
        MissingExtra: ONNX Runtime is not installed.
    """
    source, target = Path(source), Path(target)
    request = Request(
        labels=labels,
        output=output,
        layer=layer,
        pixels=Pixels(channels=channels, scale=scale, mean=mean, std=std),
        resize=resize,
        shorter_side=shorter_side,
        interpolation=interpolation,
        size=size,
        activation=activation,
        pictures=pictures,
    )
    check_target(target, source, overwrite=overwrite)
    return convert(read_classifier(source), target, request, {"file": source.name})
