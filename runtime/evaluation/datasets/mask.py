"""Masks of objects as PNG files: reading them, and finding those of images by name."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from camrt.errors import SourceError, UsageError
from camrt.runtime.evaluation.datasets.files import read_bytes
from camrt.runtime.evaluation.datasets.labelled import Dataset, LabelledImage, Target

_FOLDERS: Final = ("masks", "mask")
_ENDINGS: Final = ("_mask.png", "-mask.png", ".mask.png")
_TRIMAP: Final = {1, 2, 3}
Mask = NDArray[np.bool_]


def read_mask(path: Path) -> tuple[Mask, Mask]:
    """Return the pixels of an object and those that do not count, bool (H, W) each.

    A mask has two values: 0, and another one on the object; in colour, black and any other colour. Grey levels
    between 0 and 255 come from smooth edges: the object is from 128 on. Two forms with pixels that do not count are
    known, too: 0, 1 and 255 (255 does not count), and trimaps of 1 (object), 2 (not) and 3 (does not count).

    Raises:
        SourceError: the file is missing, no PNG, or has other values.
    """
    data = read_bytes(path)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data[:4] == b"\x89PNG" else None
    if pixels is None:
        raise SourceError(f"mask {path} cannot be read as PNG")
    if pixels.ndim == 3:  # alpha does not count; a palette is read as colour
        colours = pixels[..., :3]
        grey = bool((colours == colours[..., :1]).all())
        pixels = np.asarray(colours[..., 0] if grey else colours.any(axis=2).astype(np.uint8))
    values = set(np.unique(pixels).tolist())
    nothing = np.zeros(pixels.shape, np.bool_)
    if 2 in values and values <= _TRIMAP:
        return pixels == 1, pixels == 3
    if values <= {0, 1, 255} and 1 in values and 255 in values:
        return pixels == 1, pixels == 255
    if len(values) <= 2:
        return pixels > 0, nothing
    if pixels.dtype == np.uint8 and max(values) == 255:
        return pixels >= 128, nothing
    some = ", ".join(map(str, sorted(values)[:6]))
    raise SourceError(f"mask {path} has the values {some}{' ...' if len(values) > 6 else ''}; a mask has 0 and 255")


def attach_masks(dataset: Dataset, root: Path, folder: Path | None) -> Dataset:
    """Return a dataset whose images have the masks that are found by name.

    The mask of ``dog/a.jpg`` is ``dog/a_mask.png`` beside it, or ``dog/a.png`` or ``a.png`` in the folder of masks.

    Args:
        dataset: the images; those that have a mask keep it.
        root: folder of the data, which may have a folder ``masks``.
        folder: the folder of masks; None: as above.

    Raises:
        UsageError: ``folder`` is given and has no mask of any image.
    """
    if folder is not None and not folder.is_dir():
        raise UsageError(f"there is no folder {folder}")
    places = [folder] if folder is not None else [root / name for name in _FOLDERS if (root / name).is_dir()]
    images = [_with_mask(image, places) for image in dataset.images]
    masked = sum(any(target.masks for target in image.targets) for image in images)
    if folder is not None and not masked:
        raise UsageError(f"{folder} has no mask of any image; the mask of a.jpg is a.png or a_mask.png")
    several = sum(image.problem == _SEVERAL for image in images)
    remarks = [f"left out: the masks of {several} images with objects of several classes"] if several else []
    if 0 < masked < len(images):
        remarks.append(f"{masked} of {len(images)} images have a mask")
    cleaned = [replace(image, problem="") if image.problem == _SEVERAL else image for image in images]
    return replace(dataset, images=cleaned, remarks=[*dataset.remarks, *remarks])


_SEVERAL: Final = "a mask for several classes"


def _with_mask(image: LabelledImage, places: Iterable[Path]) -> LabelledImage:
    if not isinstance(image.image, Path) or image.problem or any(target.masks for target in image.targets):
        return image
    path, inside = image.image, Path(image.name)
    candidates = [path.with_name(path.stem + ending) for ending in _ENDINGS]
    for place in places:
        for relative in (inside, Path(*inside.parts[1:]) if len(inside.parts) > 1 else inside, Path(inside.name)):
            candidates += [place / relative.with_suffix(".png")]
            candidates += [place / relative.with_name(relative.stem + ending) for ending in _ENDINGS]
    found = next((candidate for candidate in candidates if candidate.is_file() and candidate != path), None)
    if found is None:
        return image
    if len(image.targets) > 1:
        return replace(image, problem=_SEVERAL)
    (target,) = image.targets
    return replace(image, targets=(Target(target.label, target.boxes, (found,), target.numbers),))
