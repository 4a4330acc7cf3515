"""Read labelled images in the form that they have."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, get_args

from camrt.errors import MissingInput, SourceError, UsageError
from camrt.runtime.evaluation.datasets.coco import is_coco, read_coco
from camrt.runtime.evaluation.datasets.files import find_synonyms, read_json, read_synonyms, sorted_files
from camrt.runtime.evaluation.datasets.folder import read_folder
from camrt.runtime.evaluation.datasets.labelled import Dataset, Format
from camrt.runtime.evaluation.datasets.listed import is_list, read_list
from camrt.runtime.evaluation.datasets.mask import attach_masks
from camrt.runtime.evaluation.datasets.table import is_table, read_table
from camrt.runtime.evaluation.datasets.voc import read_voc

FORMATS: Final[tuple[Format, ...]] = get_args(Format)
_WORDS: Final = {
    "folder": "folder per class",
    "voc": "Pascal VOC XML",
    "coco": "COCO JSON",
    "csv": "CSV with file,class,x0,y0,x1,y1",
    "json": "JSON list with file, class_name, boxes",
}
_Reader = Callable[[], Dataset]


def read_dataset(
    path: str | Path, form: Format | None = None, *, masks: Path | None = None, classes: Path | None = None
) -> Dataset:
    """Read labelled images: their names, classes and boxes; the pixels are read later, one image after the other.

    Args:
        path: a folder, or a file of annotations (``.json``, ``.csv``).
        form: one of `FORMATS`; None: found out by looking.
        masks: a folder of masks; None: those beside the images and in a folder ``masks`` are used.
        classes: a table from classes of the data to labels of the model, see `read_synonyms`; None: a file of WordNet
            ids beside the images is used, if there is one.

    Raises:
        UsageError: nothing is there, no form fits, or several do.
        SourceError: a file of annotations is broken; the message has file, line or entry, and the reason.
    """
    path = Path(path)
    if not path.exists():
        raise MissingInput(f"there is nothing at {path}")
    if form is not None and form not in FORMATS:
        raise UsageError(f"format {form!r} is unknown; known are {', '.join(FORMATS)}")
    found = _annotations(path) if path.is_dir() else _annotation_file(path)
    if path.is_dir() and (form == "folder" or (form is None and not found)):
        found = [("folder", path, partial(read_folder, path))]
    found = [one for one in found if form in (None, one[0])]
    if not found:
        raise UsageError(f"{path} has no {_WORDS[form] if form else 'labels that camrt knows'}")
    if len(found) > 1:
        lines = (f"{_WORDS[kind]} ({file})" for kind, file, _ in found)
        several = len({kind for kind, _, _ in found}) > 1
        advice = "name one with --format" if several else "name the file instead of the folder"
        raise UsageError(f"{path} has several files of labels, {', '.join(lines)}; {advice}")
    root = path if path.is_dir() else path.parent
    dataset = attach_masks(found[0][2](), root, masks)
    synonyms = find_synonyms(root) if classes is None else read_synonyms(classes)
    if not dataset.images:
        raise UsageError(f"{path} has no image with a class")
    return replace(dataset, name=str(path), synonyms=synonyms)


def has_annotations(root: Path) -> bool:
    """Tell whether a folder has a file of labels, so that `read_dataset` does not read it as a folder per class.

    Raises:
        SourceError, UsageError: a table of labels there is broken.
    """
    return bool(_annotations(root))


def _annotations(root: Path) -> list[tuple[Format, Path, _Reader]]:
    """Return the annotations below a folder: format, file or folder, and their reader."""
    found: list[tuple[Format, Path, _Reader]] = []
    if sorted_files(root, ".xml"):
        found.append(("voc", root, partial(read_voc, root)))
    for folder in (root, root / "annotations", root / "labels"):
        files = sorted(folder.iterdir()) if folder.is_dir() else []
        for path in files:
            if path.suffix.lower() in (".json", ".csv") and path.is_file() and not path.name.startswith("."):
                try:
                    found += _annotation_file(path, root)
                except (SourceError, UsageError):
                    if folder == root and path.suffix.lower() == ".csv":
                        raise
    return found


def _annotation_file(path: Path, root: Path | None = None) -> list[tuple[Format, Path, _Reader]]:
    """Return the one reader of a file of annotations; none: it has another content."""
    if path.suffix.lower() == ".csv":
        if is_table(path) or root is None:
            return [("csv", path, partial(read_table, path))]
        return []
    if path.suffix.lower() != ".json":
        raise UsageError(f"{path} is neither a folder nor a .json or .csv file of labels")
    value = read_json(path)
    above = path.parent.parent if path.parent.name.lower() in ("annotations", "labels") else path.parent
    if is_coco(value):
        return [("coco", path, partial(read_coco, path, value, root or above))]
    if is_list(value):
        return [("json", path, partial(read_list, path, value, root or above))]
    if root is None:
        raise UsageError(
            f"{path} is neither COCO (images, annotations, categories) nor a list with file and class_name"
        )
    return []
