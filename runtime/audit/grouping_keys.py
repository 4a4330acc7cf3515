"""Group of each image: its sub-folder, a column of its table, or a value that its camera wrote (EXIF)."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from camrt.errors import MissingExtra, UsageError
from camrt.runtime.evaluation.datasets.labelled import Dataset, LabelledImage
from camrt.text import one_line

FOLDER: Final = "folder"
EXIF: Final = "exif:"
NONE: Final = "(none)"
"""Name of the group of images without a value."""
_SHOWN: Final = 12


def groups_of(dataset: Dataset, by: str) -> Callable[[LabelledImage], str]:
    """Return a function that gives the group of each image of a dataset.

    Args:
        dataset: the images.
        by: ``folder`` (the folders between class and file; without folders of classes, those of the file),
            ``exif:TAG`` (a tag as Pillow names it, such as ``exif:Model``), or a column of the table of labels.

    Raises:
        UsageError: there is no such value, or all images have the same; the message says what is there.
        MissingExtra: EXIF needs Pillow, which is not installed.
    """
    if by == FOLDER:
        names = {id(image): _folder(image, dataset) for image in dataset.images}
        hint = "put the images of each group into a sub-folder of its own"
    elif by.startswith(EXIF):
        names, hint = _exif(dataset.images, by.removeprefix(EXIF))
    else:
        names, hint = _column(dataset.images, by)
    counts = Counter(names.values())
    if len(counts) < 2:
        raise UsageError(f"--group-by {by}: all images are in one group, {next(iter(counts))!r}; {hint}")
    return lambda image: names[id(image)]


def _folder(image: LabelledImage, dataset: Dataset) -> str:
    parts = PurePosixPath(Path(image.name).as_posix()).parts[:-1]
    return "/".join(parts[1:] if dataset.format == "folder" else parts) or NONE


def _column(images: Sequence[LabelledImage], by: str) -> tuple[dict[int, str], str]:
    known = sorted({name for image in images for name in image.columns})
    if by not in known:
        columns = (
            f"the table of labels has {', '.join(map(repr, known))}" if known else "the labels have no more columns"
        )
        raise UsageError(f"--group-by {by}: use folder, exif:TAG or a column; {columns}")
    return {id(image): one_line(image.columns.get(by, "")) or NONE for image in images}, f"known columns: {known}"


def _exif(images: Sequence[LabelledImage], tag: str) -> tuple[dict[int, str], str]:
    found = {id(image): exif_tags(image) for image in images}
    counts = Counter(name for tags in found.values() for name in tags)
    shown = ", ".join(name for name, _ in counts.most_common(_SHOWN)) or "no tags at all"
    if tag not in counts:
        raise UsageError(f"--group-by {EXIF}{tag}: no image has this tag; the images have {shown}")
    return {key: tags.get(tag, NONE) for key, tags in found.items()}, f"the images have {shown}"


def exif_tags(image: LabelledImage) -> Mapping[str, str]:
    """Return the EXIF tags of a file by Pillow's names; none if it cannot be read, which the audit reports.

    Raises: MissingExtra: Pillow is not installed.
    """
    try:
        from PIL import ExifTags, Image
    except ImportError as error:
        raise MissingExtra("EXIF is read with Pillow, which is not installed: pip install 'camrt[images]'") from error
    if image.problem or not isinstance(image.image, Path) or not image.image.is_file():
        return {}
    try:
        with Image.open(image.image) as file:
            exif = file.getexif()
            values = {**exif, **exif.get_ifd(ExifTags.IFD.Exif)}
    except Exception:  # noqa: BLE001 - Pillow raises many kinds for broken files
        return {}
    return {
        ExifTags.TAGS[number]: text
        for number, value in values.items()
        if number in ExifTags.TAGS
        and isinstance(value, (str, int, float))
        and (text := one_line(str(value).strip("\0 ")))
    }
