"""Make a model file of a torch module: export it to ONNX, then convert that like any other classifier."""

import contextlib
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnx import ModelProto
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode

from camrt.errors import ExportError, UsageError
from camrt.export.convert import convert
from camrt.export.error_text import first_line
from camrt.export.example_input import find_example_input
from camrt.export.graph.graph import Graph
from camrt.export.graph.preprocessing import Channels, PreprocessingOptions
from camrt.export.graph.read import check_classifier
from camrt.export.head_options import Labels, options_of_heads
from camrt.export.options import ConversionOptions
from camrt.export.report import Report
from camrt.export.verify.exported import F32
from camrt.files import check_target
from camrt.model_file import Activation, Interpolation, Resize

aten = torch.ops.aten


def from_torch(
    module: torch.nn.Module,
    target: str | Path,
    *,
    input_size: int | tuple[int, int],
    labels: Labels | Mapping[str, Labels] | None = None,
    output: str | Sequence[str] | None = None,
    layer: str | None = None,
    scale: float | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    channels: Channels | None = None,
    takes_bytes: bool = False,
    invert: bool = False,
    resize: Resize | None = None,
    shorter_side: int | None = None,
    interpolation: Interpolation | None = None,
    fine: bool = False,
    activation: Activation | Mapping[str, Activation] | None = None,
    images: str | Path | Sequence[str | Path] | None = None,
    check: str | Path | None = None,
    overwrite: bool = False,
) -> Report:
    """Make a model file of a torch classifier.

    The module is exported in evaluation mode; afterwards its parts have their modes back.

    Args:
        module: takes [N, C, H, W] or [N, H, W, C] with 1, 3 or 4 channels, gives [N, K]; on any device. camrt runs it
            on each kind of input, [N, 3, H, W] first, and uses the first on which it does not fail.
        target: the model file to write.
        input_size: (width, height) in pixels, or one number for both.
        labels: class labels, or a file of them in any form that `camrt.export.labels.read.read_labels` knows.
            For several outputs a mapping with the labels of each.
        output: for a module with several outputs: the name of the exported graph's output that gives the scores:
            the key, if the module returns a dictionary of tensors.
            Several: the file gets a head for each, on one backbone; the first is the one that is shown by default.
        layer: the feature map to show, as a tensor's name; None: the last.
        scale: factor for pixels in 0..255; None: 1/255, or 1 where the module normalises pixels itself.
        mean: one number a channel, in the network's order, in units of pixel * scale; None: ImageNet's for colour
            images in floats / 255, else 0.
        std: like ``mean``; None: ImageNet's, or 1.
        channels: the channel order of the network's input; None: rgb, or grey for one channel. A fourth channel, alpha,
            is 255 everywhere.
        takes_bytes: the module takes pixels as bytes (uint8); False: floats, or bytes where it fails on all floats.
        invert: take 255 - pixel.
        resize: how a frame becomes the network's input; see `camrt.model_file.InputGeometry`; None: stretch.
        shorter_side: for ``resize="crop"``: the frame's shorter side is scaled to this many pixels before the centre
            is cropped.
        interpolation: ``antialias``, ``linear`` or ``area``, see `camrt.model_file.InputGeometry`; None: antialias.
        fine: compute the last stage with stride 1 and dilation 2, with the same weights: maps have twice as many rows
            and columns, and scores change a little.
        activation: what turns logits into scores; None: the module's own, else softmax, and sigmoid for one logit;
            ``none`` for a regression. A mapping has one for each output.
        images: a folder of images, or image files, to verify on; None: synthetic images.
        check: a folder with a sub-folder of images for each class: the report has the accuracy with the chosen
            preprocessing and with the likely alternatives.
        overwrite: replace an existing target.

    Raises:
        HeadNotFound: no supported head was found.
        ExportError: torch cannot run or export the module, or the file fails its verification; nothing is written.
        UsageError: an option does not fit the module, or the target exists.
        SourceError: an image cannot be read.
        SinkError: the file cannot be written.
        MissingExtra: ONNX Runtime is not installed.
    """
    target = Path(target)
    size = (input_size, input_size) if isinstance(input_size, int) else (input_size[0], input_size[1])
    if min(size) < 1:
        raise UsageError(f"input_size {size[0]}x{size[1]} is empty; give width and height in pixels")
    shared = ConversionOptions(
        labels=None,
        output=None,
        layer=layer,
        preprocessing=PreprocessingOptions(channels=channels, scale=scale, mean=mean, std=std, invert=invert),
        resize=resize,
        shorter_side=shorter_side,
        interpolation=interpolation,
        size=None,
        fine=fine,
        activation=None,
        images=images,
        check=check,
    )
    options = options_of_heads(shared, output, labels, activation)
    check_target(target, None, overwrite=overwrite)
    name = type(module).__name__
    source_info = {"module": f"{type(module).__module__}.{name}", "torch": torch.__version__}
    with _evaluation_mode(module):
        example = find_example_input(module, size, channels, takes_bytes=takes_bytes)
        runner = _Runner(module, example)
        classifier = check_classifier(_export(module, example), name)
        return convert(classifier, target, options, source_info, forward=runner)


@contextlib.contextmanager
def _evaluation_mode(module: torch.nn.Module) -> Iterator[None]:
    """Switch to evaluation mode, without gradients; afterwards each part has its own mode again."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, training in modes:
            part.training = training


class _Runner:
    """Runs a module on NumPy arrays, and records the maps that it pools."""

    def __init__(self, module: torch.nn.Module, example: torch.Tensor) -> None:
        self.module = module
        self.example = example
        """An input: it has the device and the type of all others."""

    def __call__(self, network_input: F32) -> tuple[list[F32], list[F32]]:
        with _PoolRecorder() as recorder:
            outputs = self.module(torch.from_numpy(network_input).to(self.example))
        return [_numpy(tensor) for tensor in _tensors(outputs)], [_numpy(tensor) for tensor in recorder.pool_inputs]


class _PoolRecorder(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch has no types here
    """Records the input of each global average pool while a module runs."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.pool_inputs: list[torch.Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in (aten.mean, aten.avg_pool2d, aten._adaptive_avg_pool2d, aten.adaptive_avg_pool2d):
            maps = args[0]
            axes = {axis % 4 for axis in args[1]} if func is aten.mean.dim and maps.ndim == 4 else None
            if axes == {2, 3} or (func.overloadpacket is not aten.mean and result.shape[2:] == (1, 1)):
                self.pool_inputs.append(maps.detach().clone())
        return result


def _export(module: torch.nn.Module, example: torch.Tensor) -> ModelProto:
    """Export to ONNX in memory, with a dynamic batch."""
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # about torch's own code; a user can do nothing about them
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                external_data=False,
                verbose=False,
                dynamic_shapes=({0: torch.export.Dim("N")},),
            )
    except torch.onnx.OnnxExporterError as error:
        raise ExportError(f"torch cannot export {type(module).__name__} to ONNX: {_root_cause(error)}") from error
    assert program is not None  # only the exporter without dynamo returns None
    model = ModelProto()
    model.CopyFrom(program.model_proto)
    _name_outputs(model, module(example))
    return model


def _name_outputs(model: ModelProto, outputs: Any) -> None:
    """Name the outputs of an exported graph by the keys of a module's dictionary of tensors."""
    if not isinstance(outputs, Mapping) or not all(isinstance(value, torch.Tensor) for value in outputs.values()):
        return
    keys = [str(key) for key in outputs]
    names = [output.name for output in model.graph.output]
    if len(set(keys)) == len(keys) == len(set(names)) == len(names):
        graph = Graph(model)
        renamed = graph.release_names(keys)  # a key may be the name of a weight, or of the input
        graph.rename({renamed.get(name, name): key for name, key in zip(names, keys, strict=True)})


def _tensors(outputs: Any) -> list[torch.Tensor]:
    return [leaf for leaf in _pytree.tree_leaves(outputs) if isinstance(leaf, torch.Tensor)]


def _numpy(tensor: torch.Tensor) -> F32:
    return np.asarray(tensor.detach().float().cpu().numpy())


def _root_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)
