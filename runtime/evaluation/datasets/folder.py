"""Images in one folder for each class, at any depth."""

from pathlib import Path
from typing import Final

from camrt.errors import UsageError
from camrt.media_files import list_folder, natural_order
from camrt.runtime.evaluation.datasets.labelled import Dataset, LabelledImage, Target

SPLITS: Final = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})
"""Names of folders that are parts of the data and no classes, in small letters."""
_IMAGE_FOLDERS: Final = ("images", "jpegimages")
_MASK_FOLDERS: Final = ("masks", "mask")


def class_root(root: Path) -> Path:
    """Return the folder that has the folders of the classes: ``root``, or ``root/images`` beside ``root/masks``."""
    names = {path.name.lower(): path for path in root.iterdir() if path.is_dir()}
    beside_masks = any(name in names for name in _MASK_FOLDERS)
    return next((names[name] for name in _IMAGE_FOLDERS if name in names and beside_masks), root)


def read_folder(root: Path) -> Dataset:
    """Read a folder with one sub-folder for each class.

    Raises:
        UsageError: there are no images in sub-folders, or the sub-folders are parts such as ``train`` and ``val``.
        SourceError: the folder cannot be listed.
    """
    top = class_root(root)
    found = list_folder(top, subfolders=True)
    images, loose = [], 0
    for path in sorted([*found.images, *found.broken], key=natural_order):
        parts = path.relative_to(top).parts
        if len(parts) == 1:
            loose += 1
        elif not is_mask(path, parts):
            problem = found.broken.get(path, "")
            images.append(LabelledImage("/".join(parts), path, (Target(parts[0]),), problem=problem))
    labels = {image.targets[0].label for image in images}
    if not images:
        raise UsageError(f"{root} has no images in folders named after their classes, and no annotations")
    if labels <= {label for label in labels if label.lower() in SPLITS}:
        raise UsageError(f"{root} has the parts {', '.join(sorted(labels))}; name one: {root / min(labels)}")
    broken = set(found.broken.values())
    remarks = [problem for problem in found.problems if problem not in broken] + found.lines(videos=False)
    if loose:
        remarks.append(f"left out: {loose} images directly in {top}, which have no class")
    return Dataset(str(root), "folder", images, remarks)


def is_mask(path: Path, parts: tuple[str, ...]) -> bool:
    """Tell whether an image is a mask, by its name or one of its folders; ``parts``: of the path below the data."""
    return path.stem.lower().endswith(("_mask", "-mask")) or any(part.lower() in _MASK_FOLDERS for part in parts[:-1])
