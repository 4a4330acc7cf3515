"""From labelled pictures to a model file: train a GAP-CNN, export it, and let the file classify the test pictures.

    python benchmarks/fruits.py --data FOLDER

FOLDER is laid out as Fruits-360 is (Muresan and Oltean 2018, arXiv:1712.00580): ``Training/CLASS/*.jpg`` and
``Test/CLASS/*.jpg``. The network is a small VGG with fully connected layers, which `camrt.export.to_gap_cnn` replaces.
Needs the extras ``export`` and ``cpu`` (or ``gpu``).
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

import camrt
from camrt.errors import CamrtError, UsageError
from camrt.images import list_images, read_image

if TYPE_CHECKING:
    import torch

Pictures = NDArray[np.uint8]
WIDTHS = (16, 32, 64, 64)
"""Channels of the convolutions; a max pool stands behind each."""
BATCH = 32
MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


def read_images(folder: Path, size: int, most: int | None = None) -> tuple[Pictures, NDArray[np.int64], list[str]]:
    """Read the pictures of one folder a class.

    Args:
        folder: holds a folder of images for each class.
        size: width and height in pixels that the pictures are brought to.
        most: pictures a class, evenly spread over its files; None: all.

    Returns: pictures uint8 (N, size, size, 3) BGR; class numbers int64 (N,); class names, sorted.

    Raises:
        UsageError: there is none.
    """
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []
    pictures, numbers = [], []
    for number, name in enumerate(names):
        files = list_images(folder / name)
        for file in files[:: max(1, len(files) // most)][:most] if most else files:
            pictures.append(cv2.resize(read_image(file), (size, size), interpolation=cv2.INTER_AREA))
            numbers.append(number)
    if not pictures:
        raise UsageError(f"no pictures in {folder}; it should hold one folder of images a class")
    return np.stack(pictures).astype(np.uint8), np.array(numbers, np.int64), names


def make_network(classes: int, size: int) -> "torch.nn.Module":
    """Make a GAP-CNN with random weights out of a small VGG.

    Args:
        classes: K.
        size: width and height of the pictures that the VGG is meant for, in pixels.
    """
    from collections import OrderedDict

    from torch import nn

    from camrt.export import to_gap_cnn

    layers: list[nn.Module] = []
    channels = 3
    for width in WIDTHS:
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
        channels = width
    side = size >> len(WIDTHS)
    hidden = nn.Sequential(nn.Flatten(), nn.Linear(channels * side**2, 128), nn.ReLU(), nn.Linear(128, classes))
    vgg = nn.Sequential(OrderedDict(features=nn.Sequential(*layers), classifier=hidden))
    return to_gap_cnn(vgg, classes)


def network_input(pictures: Pictures) -> "torch.Tensor":
    """Return float32 (N, 3, H, W), RGB, in [-1, 1]: what the network is trained on and the model file computes."""
    import torch

    planes = np.ascontiguousarray(pictures[..., ::-1].transpose(0, 3, 1, 2), np.float32)
    return torch.from_numpy((planes / 255 - MEAN[0]) / STD[0])


def run(
    data: Path, target: Path, *, size: int = 64, epochs: int = 12, most: int | None = None, seed: int = 0
) -> dict[str, Any]:
    """Train, export, and measure on all test pictures.

    Args:
        data: folder with ``Training`` and ``Test``.
        target: the model file to write; replaced if it exists.
        size: width and height of the network's input in pixels.
        epochs: times that each training picture is seen.
        most: training pictures a class; None: all.
        seed: of the weights, the order of the pictures and their variation.

    Returns: ``accuracy`` of the model file and ``torch_accuracy`` (fractions of the test pictures), ``agreement``
    (fraction of them on which both name the same class), ``identity_error`` (relative), ``classes``,
    ``training_pictures``, ``test_pictures``, ``epochs``, ``training_s``.

    Raises:
        CamrtError: no pictures, or the network cannot be exported.
    """
    import torch

    from camrt.export import from_torch
    from camrt.export.train.loop import fit

    torch.manual_seed(seed)
    pictures, numbers, names = read_images(data / "Training", size, most)
    test_pictures, test_numbers, test_names = read_images(data / "Test", size)
    if test_names != names:
        raise UsageError(f"{data}: Training and Test hold different classes")
    network = make_network(len(names), size)
    start = time.perf_counter()
    fit(
        network,
        network_input(pictures),
        torch.from_numpy(numbers),
        epochs=epochs,
        seed=seed,
        batch_size=BATCH,
        shift=size // 8,
    )
    training_s = time.perf_counter() - start
    report = from_torch(
        network, target, input_size=size, labels=names, mean=MEAN, std=STD, interpolation="area", overwrite=True
    )
    model = camrt.load(target)
    answers = np.array([result.class_id for result in model(list(test_pictures))])
    with torch.no_grad():
        torch_answers = network(network_input(test_pictures)).argmax(1).numpy()
    return {
        "classes": len(names),
        "training_pictures": len(pictures),
        "test_pictures": len(test_pictures),
        "epochs": epochs,
        "training_s": round(training_s, 1),
        "accuracy": float((answers == test_numbers).mean()),
        "torch_accuracy": float((torch_answers == test_numbers).mean()),
        "agreement": float((answers == torch_answers).mean()),
        "identity_error": report.verification["identity_error"],
    }


def main() -> None:
    """Read the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="holds Training/ and Test/")
    parser.add_argument("--epochs", type=int, default=12, help="default: 12")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="keep the model file here")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            result = run(args.data, args.out or Path(folder) / "fruits.onnx", epochs=args.epochs)
        except CamrtError as error:
            parser.exit(1, f"fruits: {error}\n")
    print(json.dumps(result, indent=2))
    print(
        f"{result['accuracy']:.1%} of {result['test_pictures']} test pictures right, "
        f"{result['torch_accuracy']:.1%} in torch; the same class on {result['agreement']:.1%}"
    )


if __name__ == "__main__":
    main()
