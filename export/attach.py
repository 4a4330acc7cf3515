"""Make a model file of a classifier in ONNX."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from camrt.export.convert import convert
from camrt.export.graph.fixed_inputs import FixedInputs, fix_inputs
from camrt.export.graph.preprocessing import Channels, PreprocessingOptions
from camrt.export.graph.read import read_classifier
from camrt.export.head_options import Labels, options_of_heads
from camrt.export.options import ConversionOptions
from camrt.export.report import Report
from camrt.export.resolution.change_size import change_size
from camrt.files import check_target
from camrt.model_file import Activation, Interpolation, Resize


def attach(
    source: str | Path,
    target: str | Path,
    *,
    labels: Labels | Mapping[str, Labels] | None = None,
    output: str | Sequence[str] | None = None,
    layer: str | None = None,
    scale: float | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    channels: Channels | None = None,
    invert: bool = False,
    resize: Resize | None = None,
    shorter_side: int | None = None,
    interpolation: Interpolation | None = None,
    size: tuple[int, int] | None = None,
    fine: bool = False,
    fix: FixedInputs | None = None,
    activation: Activation | Mapping[str, Activation] | None = None,
    images: str | Path | Sequence[str | Path] | None = None,
    check: str | Path | None = None,
    overwrite: bool = False,
) -> Report:
    """Make a model file of an ONNX classifier.

    Network input = (pixel * scale - mean) / std; with ``invert``, 255 - pixel takes the pixel's place. An option that
    is None is taken from the file's own metadata, then from files beside it (`camrt.export.source_metadata`), else
    from the graph or the usual preprocessing; the report says which.

    Args:
        source: the classifier: one input, [N, C, H, W] or [N, H, W, C] with 1, 3 or 4 channels, floats or bytes;
            output [N, K].
        target: the model file to write.
        labels: class labels, or a file of them in any form that `camrt.export.labels.read.read_labels` knows;
            ``"none"``: numbers only. For several outputs a mapping with the labels of each.
        output: the output that gives the scores; needed where several could. Several outputs: the file gets a head for
            each, on one backbone; the first is the one that is shown by default.
        layer: the feature map to show, as a tensor's name; None: the last.
        scale: factor for pixels in 0..255; None: 1/255, or 1 where the network takes bytes or normalises pixels
            itself.
        mean: one number a channel, in the network's order, in units of pixel * scale; None: ImageNet's for colour
            images in floats / 255, else 0.
        std: like ``mean``; None: ImageNet's, or 1.
        channels: the channel order of the network's input; None: rgb, or grey for one channel. A fourth channel, alpha,
            is 255 everywhere.
        invert: take 255 - pixel.
        resize: how a frame becomes the network's input; see `camrt.model_file.InputGeometry`; None: stretch.
        shorter_side: for ``resize="crop"``: the frame's shorter side is scaled to this many pixels before the centre
            is cropped.
        interpolation: ``antialias``, ``linear`` or ``area``, see `camrt.model_file.InputGeometry`; None: antialias.
        size: (width, height) in pixels, for a network that leaves it open, or to change a fixed one.
        fine: compute the last stage with stride 1 and dilation 2, with the same weights: maps have twice as many rows
            and columns, and scores change a little.
        fix: for a classifier with other inputs besides the image: a constant for each, by name. A number is repeated
            over the input's shape; an array, or the path of a ``.npy`` file, must have the shape.
        activation: what turns logits into scores; None: the graph's own, else softmax, and sigmoid for one logit;
            ``none`` for a regression. A mapping has one for each output.
        images: a folder of images, or image files, to verify on; None: synthetic images.
        check: a folder with a sub-folder of images for each class: the report has the accuracy with the chosen
            preprocessing and with the likely alternatives.
        overwrite: replace an existing target.

    Raises:
        HeadNotFound: no supported head was found.
        ExportError: the classifier cannot be read or converted, or fails its verification; nothing is written.
        UsageError: an option does not fit the classifier, or the target exists.
        SourceError: an image cannot be read.
        SinkError: the file cannot be written.
        MissingExtra: ONNX Runtime is not installed.
    """
    source, target = Path(source), Path(target)
    shared = ConversionOptions(
        labels=None,
        output=None,
        layer=layer,
        preprocessing=PreprocessingOptions(channels=channels, scale=scale, mean=mean, std=std, invert=invert),
        resize=resize,
        shorter_side=shorter_side,
        interpolation=interpolation,
        size=size,
        fine=fine,
        activation=None,
        images=images,
        check=check,
    )
    options = options_of_heads(shared, output, labels, activation)
    check_target(target, source, overwrite=overwrite)
    classifier = read_classifier(source)
    fixed = fix_inputs(classifier.model, fix or {})
    classifier = replace(classifier, remarks=(*classifier.remarks, *fixed))
    if size is not None:
        classifier = change_size(classifier, size)
    source_info = {"file": source.name} | ({"fixed": " ".join(fixed)} if fixed else {})
    return convert(classifier, target, options, source_info, path=source)
