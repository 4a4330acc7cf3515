"""Images with annotations in COCO's JSON, one file for all images."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from camrt.runtime.evaluation.datasets.files import ImageIndex, box_of, shown_name
from camrt.runtime.evaluation.datasets.labelled import AnnotationError, Box, Dataset, LabelledImage, Target


def is_coco(value: Any) -> bool:
    """Tell whether a JSON value has COCO's three lists."""
    return isinstance(value, dict) and all(
        isinstance(value.get(key), list) for key in ("images", "annotations", "categories")
    )


def read_coco(path: Path, value: dict[str, Any], root: Path) -> Dataset:
    """Read a file of annotations; the images are anywhere below ``root``.

    Args:
        path: the file.
        value: its content, see `is_coco`.
        root: folder with the images.

    Raises:
        AnnotationError: an entry lacks a value, or has one of a wrong type.
    """
    names = {
        _key(one, "id", place): str(_key(one, "name", place)) for one, place in _entries(path, value, "categories")
    }
    boxes: dict[Any, dict[str, list[Box]]] = {}
    crowds = empty = 0
    known = {_key(one, "id", place) for one, place in _entries(path, value, "images")}
    for one, place in _entries(path, value, "annotations"):
        image_id, category = _key(one, "image_id", place), _key(one, "category_id", place)
        if image_id not in known:
            raise AnnotationError(f"{place}: there is no image with id {image_id!r:.40}")
        if category not in names:
            raise AnnotationError(f"{place}: there is no category with id {category!r:.40}")
        if one.get("iscrowd") == 1:
            crowds += 1
            continue
        box = one.get("bbox")
        if not isinstance(box, list) or len(box) != 4:
            raise AnnotationError(f"{place}: bbox needs [x, y, width, height], not {box!r:.60}")
        if 0 in box[2:]:  # COCO itself has a few
            empty += 1
            continue
        boxes.setdefault(image_id, {}).setdefault(names[category], []).append(_corners(box, place))
    index = ImageIndex(root)
    images, without = [], 0
    for one, place in _entries(path, value, "images"):
        name, objects = str(_key(one, "file_name", place)), boxes.get(one["id"], {})
        if not objects:
            without += 1
            continue
        targets = tuple(Target(label, tuple(some)) for label, some in objects.items())
        size = one.get("width"), one.get("height")
        stated = size if all(type(side) is int and side > 0 for side in size) else None
        try:
            file = index.find(name, place)
        except AnnotationError as error:
            images.append(LabelledImage(name, path, targets, problem=str(error)))
            continue
        images.append(LabelledImage(shown_name(file, root), file, targets, stated))  # type: ignore[arg-type]
    counts = {"objects marked as crowds": crowds, "boxes without area": empty, "images without an object": without}
    remarks = [f"left out: {count} {what}" for what, count in counts.items() if count]
    return Dataset(str(path), "coco", images, remarks)


def _entries(path: Path, value: dict[str, Any], key: str) -> Iterator[tuple[dict[str, Any], str]]:
    for number, one in enumerate(value[key], 1):
        place = f"{path}, entry {number} of {key}"
        if not isinstance(one, dict):
            raise AnnotationError(f"{place}: it is no object but {one!r:.40}")
        yield one, place


def _key(one: dict[str, Any], key: str, place: str) -> str | int:
    value = one.get(key)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise AnnotationError(f"{place}: {key} must be a number or a text, not {value!r:.40}")
    return value


def _corners(box: list[Any], place: str) -> Box:
    try:
        x, y, width, height = (float(side) for side in box)
    except (TypeError, ValueError, OverflowError):
        raise AnnotationError(f"{place}: bbox needs four numbers, not {box!r:.60}") from None
    return box_of((x, y, x + width, y + height), place)
