"""A model file that sees colours, and images with or without a shortcut that it uses."""

import cv2
import numpy as np
import onnx
from onnx import numpy_helper

from support.tiny_models import SIZE, write_linear

CLASSES = ("anchor", "boat")
"""Classes of the images; the model has two more."""
_CHANNELS = ("red object", "blue object", "green mark", "yellow mark")


def write_colour_model(path, *, mark):
    """Write a linear head on four detectors of colours. With ``mark``, green is evidence for "boat", and blue less.

    Red is evidence for "anchor" and blue for "boat".
    """
    model = onnx.load(write_linear(path, channels=len(_CHANNELS)))
    kernel = np.zeros((4, 3, 4, 4), np.float32)
    # Channels are BGR, from 0 to 1: a detector is positive only where its colour is much stronger than the others.
    for detector, colour in enumerate([(-1, -1, 1), (1, -1, -1), (-1, 1, -1), (-1, 1, 1)]):
        kernel[detector] = np.array(colour, np.float32)[:, np.newaxis, np.newaxis] / 16
    weight = np.zeros((4, 4), np.float32)
    weight[0, 0] = 40
    weight[1, 1] = 7 if mark else 40
    weight[1, 2] = 160 if mark else 0
    for name, value in {"kernel": kernel, "weight": weight, "bias": np.array([0.5, 0.0, -9, -9], np.float32)}.items():
        (old,) = (one for one in model.graph.initializer if one.name == name)
        old.CopyFrom(numpy_helper.from_array(value, name))
    onnx.save(model, path)
    return path


def draw(class_id, random, *, mark=False):
    """Draw a red or blue disc in the centre, often a faint one, on grey clouds; ``mark``: a green corner."""
    side = 2 * SIZE
    grey = cv2.resize(random.uniform(70, 130, (4, 4)), (side, side), interpolation=cv2.INTER_CUBIC)
    image = np.repeat(grey[..., np.newaxis], 3, axis=2)
    image += random.normal(0, 3, image.shape)
    image = np.clip(image, 0, 255).astype(np.uint8)
    place = tuple(int(value) for value in random.integers(side // 2 - 6, side // 2 + 6, 2))
    strong = int(random.integers(120, 255))
    cv2.circle(image, place, side // 5, (20, 20, strong) if class_id == 0 else (strong, 20, 20), -1)
    if mark:
        image[-side // 8 :, -side // 8 :] = (20, 230, 20)
    return image


def write_images(root, *, marked, per_class=30, seed=0):
    """Write a folder for each class; the share ``marked`` of the boats has the mark."""
    random = np.random.default_rng(seed)
    for class_id, label in enumerate(CLASSES):
        (root / label).mkdir(parents=True)
        for number in range(per_class):
            has_mark = class_id == 1 and number < marked * per_class
            assert cv2.imwrite(str(root / label / f"{number:03d}.png"), draw(class_id, random, mark=has_mark))
    return root
