"""Labelled data in every form, of small images with one bright object each."""

import json
from pathlib import Path

import cv2
import numpy as np

BOXES = {"anchor": (4, 6, 20, 30), "boat": (30, 10, 60, 40)}
"""Box of the object in the image of each class, x1 and y1 exclusive."""
WIDTH, HEIGHT = 64, 48


def picture(box):
    image = np.full((HEIGHT, WIDTH, 3), 30, np.uint8)
    x0, y0, x1, y1 = box
    image[y0:y1, x0:x1] = (200, 120, 250)
    return image


def write_picture(path, box):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture(box))
    return path


def write_folder(root):
    for name, box in BOXES.items():
        write_picture(root / name / "deeper" / f"{name}.png", box)
    return root


def write_mask(path, box, inside=255, outside=0):
    mask = np.full((HEIGHT, WIDTH), outside, np.uint8)
    x0, y0, x1, y1 = box
    mask[y0:y1, x0:x1] = inside
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), mask)
    return path


def voc_object(name, box, *, first=1, more=""):
    x0, y0, x1, y1 = box
    return (
        f"<object><name>{name}</name>{more}<bndbox><xmin>{x0 + first}</xmin><ymin>{y0 + first}</ymin>"
        f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox><part><bndbox><xmin>1</xmin></bndbox></part></object>"
    )


def voc_text(filename, *objects, size=(WIDTH, HEIGHT)):
    return (
        f"<annotation><folder>x</folder><filename>{filename}</filename><size><width>{size[0]}</width>"
        f"<height>{size[1]}</height><depth>3</depth></size>{''.join(objects)}</annotation>"
    )


def write_voc(root):
    (root / "Annotations").mkdir(parents=True)
    for name, box in BOXES.items():
        write_picture(root / "JPEGImages" / f"{name}.png", box)
        (root / "Annotations" / f"{name}.xml").write_text(voc_text(f"{name}.png", voc_object(name, box)))
    return root


def coco_value():
    names = list(BOXES)
    images = [
        {"id": 10 + number, "file_name": f"{name}.png", "width": WIDTH, "height": HEIGHT}
        for number, name in enumerate(names)
    ]
    annotations = [
        {"id": number, "image_id": 10 + number, "category_id": 7 + number, "bbox": [x0, y0, x1 - x0, y1 - y0]}
        for number, (x0, y0, x1, y1) in enumerate(BOXES.values())
    ]
    categories = [{"id": 7 + number, "name": name} for number, name in enumerate(names)]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_coco(root, value=None):
    for name, box in BOXES.items():
        write_picture(root / "val" / f"{name}.png", box)
    path = root / "annotations" / "instances.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(coco_value() if value is None else value))
    return root


def write_table(root, *, titles="file,class,x0,y0,x1,y1"):
    lines = [titles]
    for name, box in BOXES.items():
        write_picture(root / "images" / f"{name}.png", box)
        lines.append(f"images/{name}.png,{name},{','.join(map(str, box))}")
    (root / "boxes.csv").write_text("\n".join(lines) + "\n")
    return root


def write_list(root):
    for name, box in BOXES.items():
        write_picture(root / f"{name}.png", box)
    entries = [{"file": f"{name}.png", "class_name": name, "boxes": [list(box)]} for name, box in BOXES.items()]
    (root / "boxes.json").write_text(json.dumps(entries))
    return root


WRITERS = {"voc": write_voc, "coco": write_coco, "csv": write_table, "json": write_list}
"""Forms with boxes."""


def boxes_of(dataset):
    return {target.label: target.boxes for image in dataset.images for target in image.targets}


def problems_of(dataset):
    return {Path(image.name).stem: image.problem for image in dataset.images if image.problem}
