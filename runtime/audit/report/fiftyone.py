"""Script that loads a report into FiftyOne. It reads the report's tables, so it needs no camrt."""

from string import Template
from typing import Final

from camrt.runtime.audit.finding import AuditData
from camrt.runtime.audit.report.coco import image_root

_SCRIPT: Final = Template('''\
"""Load this report into FiftyOne: classes, answers, boxes of the maps, and a tag for each finding.

    pip install fiftyone
    python fiftyone_dataset.py [FOLDER OF THE IMAGES]
"""

import csv
import json
import sys
from pathlib import Path

import fiftyone as fo

REPORT = Path(__file__).resolve().parent
IMAGES = Path(sys.argv[1] if len(sys.argv) > 1 else $root)
NUMBERS = ("score", "answer_score", "on_object", "centre", "entropy", "distance")

boxes = json.loads((REPORT / "boxes.json").read_text(encoding="utf-8"))
report = json.loads((REPORT / "report.json").read_text(encoding="utf-8"))
with (REPORT / "images.csv").open(encoding="utf-8", newline="") as file:
    rows = list(csv.DictReader(file))

labels = {one["id"]: one["name"] for one in boxes["categories"]}
found = {}
for one in boxes["annotations"]:
    found.setdefault(one["image_id"], []).append(one)

samples = []
for image, row in zip(boxes["images"], rows, strict=True):
    sample = fo.Sample(filepath=str(IMAGES / image["file_name"]))
    sample["ground_truth"] = fo.Classification(label=row["class"])
    sample["answer"] = fo.Classification(label=row["answer"], confidence=float(row["answer_score"]))
    width, height = image["width"], image["height"]
    sample["map"] = fo.Detections(
        detections=[
            fo.Detection(
                label=labels[one["category_id"]],
                bounding_box=[
                    one["bbox"][0] / width,
                    one["bbox"][1] / height,
                    one["bbox"][2] / width,
                    one["bbox"][3] / height,
                ],
                confidence=one["score"],
            )
            for one in found.get(image["id"], [])
        ]
    )
    for key in NUMBERS:
        if row[key]:
            sample[key] = float(row[key])
    for rank, finding in enumerate(report["findings"], 1):
        if row["file"] in finding["images"]:
            sample.tags.append(f"finding {rank}: {finding['kind']}")
    samples.append(sample)

dataset = fo.Dataset("camrt audit", overwrite=True)
dataset.add_samples(samples)
print(dataset)

if __name__ == "__main__":
    fo.launch_app(dataset).wait()
''')


def script(audit: AuditData) -> str:
    """Return the script. By default it looks for the images at the place where they were read."""
    root = image_root(audit)
    return _SCRIPT.substitute(root=repr("." if root is None else str(root)))
