"""Images with annotations in Pascal VOC's XML, one file for each image."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from xml.parsers import expat

from camrt.errors import UsageError
from camrt.runtime.evaluation.datasets.files import ImageIndex, box_of, read_bytes, shown_name, sorted_files
from camrt.runtime.evaluation.datasets.labelled import AnnotationError, Box, Dataset, LabelledImage, Target

_SIDES: Final = ("xmin", "ymin", "xmax", "ymax")
_DEEPEST: Final = 64


def read_voc(root: Path) -> Dataset:
    """Read all XML files below a folder; the images are anywhere below it.

    Pascal VOC counts pixels from 1, and xmax and ymax belong to the box. If any box of the data has xmin or ymin 0, all
    are taken to count from 0, with xmax and ymax as they are.

    Raises:
        UsageError: there are no XML files.
    """
    files = sorted_files(root, ".xml")
    if not files:
        raise UsageError(f"{root} has no XML files")
    index = ImageIndex(root)
    parsed: list[tuple[LabelledImage, int]] = []
    for path in files:
        name = shown_name(path, root)
        try:
            parsed.append(_read(path, index))
        except AnnotationError as error:
            parsed.append((LabelledImage(name, path, (), problem=str(error)), 0))
    boxes = (box for image, _ in parsed for target in image.targets for box in target.boxes)
    from_zero = any(min(box[:2]) < 0 for box in boxes)
    usable = [image for image, _ in parsed if image.targets or image.problem]
    images = [_from_zero(image) if from_zero else image for image in usable]
    remarks = []
    if len(usable) < len(parsed):
        remarks.append(f"left out: {len(parsed) - len(usable)} images without an object")
    if difficult := sum(count for _, count in parsed):
        remarks.append(f"left out: {difficult} objects marked as difficult")
    if from_zero:
        remarks.append("boxes count pixels from 0, for one has xmin or ymin 0")
    return Dataset(str(root), "voc", images, remarks)


def _from_zero(image: LabelledImage) -> LabelledImage:
    """Undo the step from pixels that count from 1."""
    targets = tuple(
        replace(target, boxes=tuple((x0 + 1, y0 + 1, x1, y1) for x0, y0, x1, y1 in target.boxes))
        for target in image.targets
    )
    return replace(image, targets=targets)


def _read(path: Path, index: ImageIndex) -> tuple[LabelledImage, int]:
    """Return an image and the number of its objects that are marked as difficult."""
    values, objects = parse_objects(path)
    name = values.get("filename", "").strip()
    stated = [name] if name else []
    image: Path | None = None
    for candidate in [*stated, path.stem]:  # the file's own name, where the annotation was renamed
        try:
            image = index.find(candidate, str(path), near=path)
            break
        except AnnotationError:
            if candidate == path.stem:
                raise
    assert image is not None
    boxes: dict[str, list[Box]] = {}
    difficult = 0
    for number, one in enumerate(objects, 1):
        place = f"{path}, object {number}"
        label = one.get("name", "").strip()
        if not label:
            raise AnnotationError(f"{place}: it has no name")
        if one.get("difficult", "0").strip() == "1":
            difficult += 1
            continue
        missing = [side for side in _SIDES if side not in one]
        if missing:
            raise AnnotationError(f"{place}: it has no {missing[0]}")
        x0, y0, x1, y1 = box_of(_numbers(one, place), place)
        boxes.setdefault(label, []).append((x0, y0, x1, y1))
    targets = tuple(Target(label, tuple(some)) for label, some in boxes.items())
    return LabelledImage(shown_name(image, index.root), image, targets, _size(values)), difficult


def _numbers(one: dict[str, str], place: str) -> list[Any]:
    """Return the sides of a box, the first two counted from 0."""
    try:
        x0, y0, x1, y1 = (float(one[side]) for side in _SIDES)
    except ValueError as error:
        raise AnnotationError(f"{place}: {error}") from error
    return [x0 - 1, y0 - 1, x1, y1]


def _size(values: dict[str, str]) -> tuple[int, int] | None:
    """Return the stated size; None: there is none, or zeros, which some tools write."""
    try:
        width, height = int(values["width"]), int(values["height"])
    except (KeyError, ValueError):
        return None
    return (width, height) if width > 0 and height > 0 else None


def parse_objects(path: Path) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Return the values of an annotation (``filename``, ``width``, ``height``) and those of each of its objects.

    Raises:
        AnnotationError: the file is no XML, is nested too deeply, or declares a document type, whose entities could
            grow without bound or name other files.
    """
    parser = expat.ParserCreate()
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    way: list[str] = []
    text: list[str] = []
    values: dict[str, str] = {}
    objects: list[dict[str, str]] = []

    def begin(name: str, _: dict[str, str]) -> None:
        way.append(name)
        text.clear()
        if len(way) > _DEEPEST:
            raise AnnotationError(f"{path}, line {parser.CurrentLineNumber}: it is nested too deeply")
        if way[1:] == ["object"]:
            objects.append({})

    def end(name: str) -> None:
        value = "".join(text)
        text.clear()
        inside = way[1:]
        if inside[:1] == ["object"] and (inside[1:] in (["name"], ["difficult"]) or inside[1:-1] == ["bndbox"]):
            objects[-1][name] = value
        elif inside == ["filename"] or inside[:-1] == ["size"]:
            values[name] = value
        way.pop()

    def refuse(*_: Any) -> None:
        raise AnnotationError(
            f"{path}, line {parser.CurrentLineNumber}: it declares a document type; remove <!DOCTYPE>"
        )

    parser.StartElementHandler = begin
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text.append
    parser.StartDoctypeDeclHandler = refuse
    data = read_bytes(path)
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise AnnotationError(f"{path}, line {error.lineno}: it is not XML: {expat.ErrorString(error.code)}") from error
    except (ValueError, LookupError) as error:  # an encoding that expat or Python does not know
        raise AnnotationError(f"{path}: it is not XML: {error}") from error
    return values, objects
