"""Boxes of an audit's maps as COCO JSON."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from camrt.runtime.audit.finding import AuditData
from camrt.runtime.maps.result import BOX_THRESHOLD


def boxes_json(audit: AuditData) -> str:
    """Return the boxes around the warm regions of the map of each image's true class.

    ``bbox`` is [x, y, width, height] in pixels of the upright image, ``segmentation`` its corners. ``score`` is the
    peak of the map in the region, in [0, 1]. ``file_name`` is the path below `image_root`. Images without a box stay.
    """
    samples, labels = audit.samples, audit.classifier.labels
    class_ids = np.unique(samples.classes).tolist()
    categories = {class_id: number for number, class_id in enumerate(class_ids, 1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (name, (width, height)) in enumerate(zip(file_names(audit), samples.sizes.tolist(), strict=True), 1):
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for x0, y0, x1, y1, score in samples.boxes[number - 1]:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": categories[int(samples.classes[number - 1])],
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]],
                    "iscrowd": 0,
                    "score": round(float(score), 4),
                }
            )
    value: dict[str, Any] = {
        "info": {
            "description": f"regions above {BOX_THRESHOLD} of the maximum of the true class's activation map",
            "contributor": f"camrt {audit.run.versions['camrt']}",
        },
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": labels[class_id]} for class_id, number in categories.items()],
    }
    return json.dumps(value, ensure_ascii=False, indent=1)


def image_root(audit: AuditData) -> Path | None:
    """Return the folder that all images lie in, absolute; None: they are arrays, or lie on several drives."""
    files = _files(audit)
    if files is None:
        return None
    names = [Path(source.name) for source in audit.samples.sources]
    roots = {
        Path(*path.parts[: -len(name.parts)])
        for path, name in zip(files, names, strict=True)
        if path.parts[-len(name.parts) :] == name.parts
    }
    if len(roots) == 1 and all((next(iter(roots)) / name) == path for path, name in zip(files, names, strict=True)):
        return next(iter(roots))
    try:
        return Path(os.path.commonpath([path.parent for path in files]))
    except ValueError:
        return None


def file_names(audit: AuditData) -> Sequence[str]:
    """Return the path of each image below `image_root`; without a root its name."""
    files, root = _files(audit), image_root(audit)
    if files is None or root is None:
        return audit.samples.names
    return [path.relative_to(root).as_posix() for path in files]


def _files(audit: AuditData) -> list[Path] | None:
    images = [source.image for source in audit.samples.sources]
    paths = [image.absolute() for image in images if isinstance(image, Path)]
    return paths if len(paths) == len(images) else None
