"""Train a GAP-CNN on labelled images, export it, and classify the test images with the model file.

    python benchmarks/fruits.py --data FOLDER

FOLDER has the layout of Fruits-360 (Muresan and Oltean 2018, arXiv:1712.00580): ``Training/CLASS/*.jpg`` and
``Test/CLASS/*.jpg``. The network is a small VGG; `camrt.export.to_gap_cnn` replaces its fully connected layers.
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

Images = NDArray[np.uint8]
WIDTHS = (16, 32, 64, 64)
"""Channels of the convolutions; each is followed by a max pool."""
BATCH = 32
MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


def read_images(
    folder: Path, size: int, max_per_class: int | None = None
) -> tuple[Images, NDArray[np.int64], list[str]]:
    """Read images from one folder per class.

    Args:
        folder: contains a folder of images for each class.
        size: width and height in pixels that the images are resized to.
        max_per_class: images per class, evenly spread over its files; None: all.

    Returns: images uint8 (N, size, size, 3) BGR; class numbers int64 (N,); class names, sorted.

    Raises:
        UsageError: there are no images.
    """
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []
    images, numbers = [], []
    for number, name in enumerate(names):
        files = list_images(folder / name)
        for file in files[:: max(1, len(files) // max_per_class)][:max_per_class] if max_per_class else files:
            images.append(cv2.resize(read_image(file), (size, size), interpolation=cv2.INTER_AREA))
            numbers.append(number)
    if not images:
        raise UsageError(f"no images in {folder}; it must contain one folder of images per class")
    return np.stack(images).astype(np.uint8), np.array(numbers, np.int64), names


def make_network(classes: int, size: int) -> "torch.nn.Module":
    """Make a GAP-CNN with random weights from a small VGG.

    Args:
        classes: number of classes K.
        size: width and height of the VGG's input in pixels.
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


def network_input(images: Images) -> "torch.Tensor":
    """Return float32 (N, 3, H, W), RGB, in [-1, 1]: the input of the network, which the model file computes itself."""
    import torch

    planes = np.ascontiguousarray(images[..., ::-1].transpose(0, 3, 1, 2), np.float32)
    return torch.from_numpy((planes / 255 - MEAN[0]) / STD[0])


def run(
    data: Path, target: Path, *, size: int = 64, epochs: int = 12, max_per_class: int | None = None, seed: int = 0
) -> dict[str, Any]:
    """Train, export, and evaluate on all test images.

    Args:
        data: folder with ``Training`` and ``Test``.
        target: the model file to write; replaced if it exists.
        size: width and height of the network's input in pixels.
        epochs: number of passes over the training images.
        max_per_class: training images per class; None: all.
        seed: seed of the weights, the order of the images and their augmentation.

    Returns: ``accuracy`` of the model file and ``torch_accuracy`` (fractions of the test images), ``agreement``
    (fraction of the test images for which both predict the same class), ``identity_error`` (relative), ``classes``,
    ``training_images``, ``test_images``, ``epochs``, ``training_s``.

    Raises:
        CamrtError: there are no images, or the network cannot be exported.
    """
    import torch

    from camrt.export import from_torch
    from camrt.export.train.loop import fit

    torch.manual_seed(seed)
    images, numbers, names = read_images(data / "Training", size, max_per_class)
    test_images, test_numbers, test_names = read_images(data / "Test", size)
    if test_names != names:
        raise UsageError(f"{data}: Training and Test contain different classes; both need the same folders")
    network = make_network(len(names), size)
    start = time.perf_counter()
    fit(
        network,
        network_input(images),
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
    predictions = np.array([result.class_id for result in model(list(test_images))])
    with torch.no_grad():
        torch_predictions = network(network_input(test_images)).argmax(1).numpy()
    return {
        "classes": len(names),
        "training_images": len(images),
        "test_images": len(test_images),
        "epochs": epochs,
        "training_s": round(training_s, 1),
        "accuracy": float((predictions == test_numbers).mean()),
        "torch_accuracy": float((torch_predictions == test_numbers).mean()),
        "agreement": float((predictions == torch_predictions).mean()),
        "identity_error": report.verification["identity_error"],
    }


def main() -> None:
    """Parse the command line, run and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="contains Training/ and Test/")
    parser.add_argument("--epochs", type=int, default=12, help="default: 12")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="write the model file to FILE")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            result = run(args.data, args.out or Path(folder) / "fruits.onnx", epochs=args.epochs)
        except CamrtError as error:
            parser.exit(1, f"fruits: {error}\n")
    print(json.dumps(result, indent=2))
    print(
        f"{result['accuracy']:.1%} of {result['test_images']} test images are correct, "
        f"{result['torch_accuracy']:.1%} with torch; the predictions agree on {result['agreement']:.1%}"
    )


if __name__ == "__main__":
    main()
