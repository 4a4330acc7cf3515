"""Make a model file of a training's newest epoch, while it goes on."""

from pathlib import Path

from camrt.errors import ExportError, UsageError
from camrt.export.from_torch import from_torch
from camrt.export.graph.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from camrt.export.train.backbone import make_network
from camrt.export.train.fit import LAST
from camrt.export.train.state import read_checkpoint


def export_newest(folder: Path, target: Path) -> int:
    """Write a model file of the newest epoch's averaged weights; returns the number of the epoch, 0 before the first.

    Args:
        folder: of a training; it may be running.
        target: the model file; replaced if it exists.

    Raises:
        UsageError: the folder holds no training.
        ExportError: its state cannot be read or exported.
        SinkError: the file cannot be written.
    """
    if not (folder / LAST).is_file():
        raise UsageError(f"{folder} holds no training: {LAST} is missing; name the folder of camrt train -o")
    content = read_checkpoint(folder / LAST)
    try:
        classes, size = list(content["classes"]), int(content["size"])
        network, _ = make_network(content["backbone"], len(classes), size)
        network.load_state_dict(content["average"])
        epoch = len(content["history"])
    except (KeyError, TypeError, RuntimeError) as error:
        raise ExportError(f"{folder / LAST} is no state of a training, or of another version") from error
    from_torch(
        network,
        target,
        input_size=size,
        labels=classes,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        channels="rgb",
        resize="stretch",
        interpolation="antialias",
        overwrite=True,
    )
    return epoch
