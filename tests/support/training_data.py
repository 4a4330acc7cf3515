"""Tiny datasets for trainings: one bright shape on a dark ground, a colour for each class."""

import cv2
import numpy as np

SIDE = 32
COLOURS = {"ant": (40, 40, 230), "bee": (40, 230, 40), "cat": (230, 40, 40)}
"""BGR of each class's shape."""


def shape_image(label, seed, side=SIDE):
    """Return an image of a class and the box of its shape (x0, y0, x1, y1)."""
    random = np.random.default_rng([seed, *label.encode()])
    image = random.integers(0, 40, (side, side, 3)).astype(np.uint8)
    width, height = random.integers(side // 3, side // 2, 2)
    x, y = random.integers(0, side - width), random.integers(0, side - height)
    image[y : y + height, x : x + width] = np.array(COLOURS[label]) + random.integers(-20, 20, 3)
    return image, (int(x), int(y), int(x + width), int(y + height))


def write_image(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


def write_class(folder, label, count, *, first=0, name="{}.png"):
    """Write images of a class to ``folder/label``."""
    for number in range(first, first + count):
        write_image(folder / label / name.format(number), shape_image(label, number)[0])


def write_parts(root, train=8, val=4, parts=("train", "val"), labels=("ant", "bee")):
    """Write a dataset of two parts."""
    for part, count, first in zip(parts, (train, val, val), (0, 1000, 2000), strict=False):
        for label in labels:
            write_class(root / part, label, count, first=first)
    return root


def write_table(root, count=6, labels=("ant", "bee")):
    """Write images and a table of their parts and boxes; returns the table."""
    lines = ["file,class,split,x0,y0,x1,y1"]
    for label in labels:
        for number in range(count):
            image, box = shape_image(label, number)
            write_image(root / "images" / f"{label}{number}.png", image)
            part = "val" if number >= count * 2 // 3 else "train"
            lines.append(f"images/{label}{number}.png,{label},{part},{','.join(map(str, box))}")
    table = root / "table.csv"
    table.write_text("\n".join(lines) + "\n")
    return table
