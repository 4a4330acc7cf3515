"""Images in a JSON list: an object with ``file``, ``class_name``, and ``boxes`` or ``mask`` for each image."""

from pathlib import Path
from typing import Any

from camrt.runtime.evaluation.datasets.files import ImageIndex, box_of, shown_name
from camrt.runtime.evaluation.datasets.labelled import AnnotationError, Dataset, LabelledImage, Target


def is_list(value: Any) -> bool:
    """Tell whether a JSON value is a list of objects with files and classes."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(one, dict) and {"file", "class_name"} <= set(one) for one in value)
    )


def read_list(path: Path, value: list[dict[str, Any]], root: Path) -> Dataset:
    """Read a JSON list; the images are anywhere below ``root``.

    Args:
        path: the file.
        value: its content, see `is_list`. ``boxes`` are (x0, y0, x1, y1), x1 and y1 exclusive; ``box`` is one of them.
            ``imagenet_index`` and ``imagenet_indices`` are numbers of classes of which any is right.
        root: folder with the images.

    Raises:
        AnnotationError: an entry is wrong.
    """
    index = ImageIndex(root)
    images = []
    for number, one in enumerate(value, 1):
        place = f"{path}, entry {number}"
        name, label = one["file"], one["class_name"]
        if not isinstance(name, str) or not isinstance(label, str):
            raise AnnotationError(f"{place}: file and class_name must be texts")
        boxes = one.get("boxes", [one["box"]] if "box" in one else [])
        numbers = one.get("imagenet_indices", [one["imagenet_index"]] if "imagenet_index" in one else [])
        if not isinstance(boxes, list) or not all(isinstance(box, list) for box in boxes):
            raise AnnotationError(f"{place}: boxes must be a list of [x0, y0, x1, y1], not {boxes!r:.60}")
        if not isinstance(numbers, list) or not all(type(entry) is int for entry in numbers):
            raise AnnotationError(f"{place}: the numbers of the classes must be whole numbers, not {numbers!r:.60}")
        checked = tuple(box_of(box, place) for box in boxes)
        mask = one.get("mask")
        size = one.get("width"), one.get("height")
        try:
            masks = () if mask is None else (index.find(str(mask), place),)
            file = index.find(name, place)
        except AnnotationError as error:
            images.append(LabelledImage(name, path, (), problem=str(error)))
            continue
        target = Target(label, checked, masks, tuple(numbers))
        stated = size if all(type(side) is int and side > 0 for side in size) else None
        images.append(LabelledImage(shown_name(file, root), file, (target,), stated))  # type: ignore[arg-type]
    return Dataset(str(path), "json", images)
