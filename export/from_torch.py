"""The door for torch modules: export to ONNX, then the same path as any ONNX classifier."""

import contextlib
import io
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnx import ModelProto
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode

from camrt.errors import ExportError, UsageError
from camrt.export.convert import Report, Request, convert
from camrt.export.graph.preprocessing import Channels, Pixels
from camrt.export.graph.read import check_classifier
from camrt.export.verify.model import F32
from camrt.files import check_target
from camrt.model_file import Activation, Interpolation, Resize

aten = torch.ops.aten


def from_torch(
    module: torch.nn.Module,
    target: str | Path,
    *,
    input_size: int | tuple[int, int],
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
    activation: Activation | None = None,
    pictures: str | Path | Sequence[str | Path] | None = None,
    overwrite: bool = False,
) -> Report:
    """Make a model file of a torch classifier.

    The module is exported in evaluation mode and is left as it was.

    Args:
        module: takes [N, 3, H, W] floats, gives [N, K]; on any device.
        target: the model file to write.
        input_size: (width, height) in pixels, or one number for both.
        labels: names of the classes, or a UTF-8 text file with one a line.
        output: for a module with several outputs: which of the exported graph's outputs gives the scores.
        layer: the feature map to show, a tensor's name; None: the last.
        scale: what pixels in 0..255 are multiplied with; None: 1/255, or 1 where the network takes bytes.
        mean: one number a channel, in the network's order, in units of pixel * scale; None: ImageNet's for colour
            pictures in floats, else 0.
        std: like ``mean``; None: ImageNet's, or 1.
        channels: the order that the network wants; None: rgb, or grey where it has one channel.
        resize: how a frame becomes the network's input; see `camrt.model_file.InputGeometry`.
        shorter_side: for ``resize="crop"``: pixels of the frame's shorter side before the centre is cut out.
        interpolation: ``linear`` or ``area``.
        activation: what turns logits into scores; None: as the module does, softmax if it gives logits.
        pictures: a folder or files to verify on; None: synthetic ones.
        overwrite: replace an existing target.

    Raises:
        HeadNotFound: the head is none that a class activation map explains.
        ExportError: torch cannot run or export the module, or the file fails its verification; nothing is written.
        UsageError: what was asked for does not fit the module, or the target exists.
        SourceError: an image cannot be read.
        SinkError: the file cannot be written.
        MissingExtra: ONNX Runtime is not installed.
    """
    target = Path(target)
    size = (input_size, input_size) if isinstance(input_size, int) else (input_size[0], input_size[1])
    if min(size) < 1:
        raise UsageError(f"input_size {size[0]}x{size[1]} is empty")
    request = Request(
        labels=labels,
        output=output,
        layer=layer,
        pixels=Pixels(channels=channels, scale=scale, mean=mean, std=std),
        resize=resize,
        shorter_side=shorter_side,
        interpolation=interpolation,
        size=None,
        activation=activation,
        pictures=pictures,
    )
    check_target(target, None, overwrite=overwrite)
    name = type(module).__name__
    facts = {"module": f"{type(module).__module__}.{name}", "torch": torch.__version__}
    with _evaluating(module):
        runner = _Runner(module)
        model = check_classifier(_export(runner, size), name)
        return convert(model, target, request, facts, runner)


@contextlib.contextmanager
def _evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Switch to evaluation mode for a while; each part gets back the mode that it had."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, training in modes:
            part.training = training


class _Runner:
    """Runs a module on NumPy arrays and sees which maps it pools."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module
        parameter = next(module.parameters(), torch.empty(0))
        self.device, self.dtype = parameter.device, parameter.dtype

    def __call__(self, network_input: F32) -> tuple[list[F32], list[F32]]:
        with _PoolWatch() as watch:
            outputs = self.module(torch.from_numpy(network_input).to(self.device, self.dtype))
        return [_numpy(tensor) for tensor in _tensors(outputs)], [_numpy(tensor) for tensor in watch.pooled]


class _PoolWatch(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch has no types here
    """Keeps what goes into each global average pool while a module runs."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.pooled: list[torch.Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in (aten.mean, aten.avg_pool2d, aten._adaptive_avg_pool2d, aten.adaptive_avg_pool2d):
            maps = args[0]
            axes = {axis % 4 for axis in args[1]} if func is aten.mean.dim and maps.ndim == 4 else None
            if axes == {2, 3} or (func.overloadpacket is not aten.mean and result.shape[2:] == (1, 1)):
                self.pooled.append(maps.detach().clone())
        return result


def _export(runner: _Runner, size: tuple[int, int]) -> ModelProto:
    """Export to ONNX in memory, with an open batch."""
    width, height = size
    name = type(runner.module).__name__
    # Two pictures: an example of one would make torch take the batch for the constant 1.
    example = torch.rand(2, 3, height, width).to(runner.device, runner.dtype)
    try:
        runner.module(example)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        shape = "x".join(map(str, example.shape))
        raise ExportError(f"{name} cannot run on a {shape} tensor: {_first_line(error)}") from error
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # of torch's own making; a user can do nothing about them
            program = torch.onnx.export(
                runner.module,
                (example,),
                dynamo=True,
                external_data=False,
                verbose=False,
                dynamic_shapes=({0: torch.export.Dim("N")},),
            )
    except torch.onnx.OnnxExporterError as error:
        raise ExportError(f"torch cannot export {name} to ONNX: {_cause(error)}") from error
    assert program is not None  # only the exporter without dynamo returns None
    model = ModelProto()
    model.CopyFrom(program.model_proto)
    return model


def _tensors(outputs: Any) -> list[torch.Tensor]:
    return [leaf for leaf in _pytree.tree_leaves(outputs) if isinstance(leaf, torch.Tensor)]


def _numpy(tensor: torch.Tensor) -> F32:
    return np.asarray(tensor.detach().float().cpu().numpy())


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return _first_line(error)


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0]
