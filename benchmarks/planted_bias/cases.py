"""One case of the benchmark: plant, train, measure the use of the shortcut, audit."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

import camrt
from camrt.benchmarks.planted_bias.frozen import FrozenBackbone
from camrt.benchmarks.planted_bias.images import Images, Split
from camrt.benchmarks.planted_bias.networks import EPOCHS, train_from_scratch
from camrt.benchmarks.planted_bias.plants import PLANTS, RIGHT_KINDS
from camrt.export.replace_head import replace_head
from camrt.runtime.audit.audit import prove
from camrt.runtime.audit.repair import Repair, repair_finding
from camrt.runtime.inference.model import Model

USED: Final = 0.10
"""Fall of the class's accuracy, from the audited images to the same ones without a shortcut, that counts as use."""


@dataclass(frozen=True, slots=True)
class Case:
    """A model with a planted shortcut, or a clean one."""

    data: str
    network: str
    """``scratch`` or ``frozen``."""
    plant: str | None
    """A name of `PLANTS`; None: a clean twin."""
    strength: float = 1.0
    """Share of the class's images with the shortcut."""
    seed: int = 0

    @property
    def name(self) -> str:
        """Name of the case, for files."""
        plant = "clean" if self.plant is None else f"{self.plant.replace(' ', '_')}-{self.strength:g}"
        return f"{self.data}-{self.network}-{plant}-{self.seed}"


def planted(split: Split, plant: str | None, class_id: int, strength: float, seed: int) -> Split:
    """Return the images with the shortcut in a share of one class."""
    random = np.random.default_rng(seed)
    images = []
    for image, number in zip(split.images, split.classes, strict=True):
        has_it = random.random() < strength and number == class_id and plant is not None
        images.append(PLANTS[plant](image, random) if has_it and plant is not None else image)
    return Split(images, split.classes, split.boxes)


def recall(model: Model, split: Split, class_id: int) -> float:
    """Return the share of a class's images with the right answer."""
    own = [image for image, number in zip(split.images, split.classes, strict=True) if number == class_id]
    return float(np.mean([model(image).class_id == class_id for image in own]))


def write(split: Split, labels: tuple[str, ...], folder: Path) -> Path:
    """Write images into one folder for each class, and a table of the boxes of their objects where they are known."""
    lines = ["file,class,x0,y0,x1,y1"]
    for number, (image, class_id) in enumerate(zip(split.images, split.classes, strict=True)):
        path = folder / labels[class_id] / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), image)
        if split.boxes is not None:
            lines.append(",".join(map(str, (path.relative_to(folder), labels[class_id], *split.boxes[number]))))
    if split.boxes is not None:
        (folder / "boxes.csv").write_text("\n".join(lines) + "\n")
    return folder


def run(
    case: Case, images: Images, folder: Path, backbone: FrozenBackbone | None = None, *, epochs: int = EPOCHS
) -> dict[str, Any]:
    """Run a case, and return its row of the table.

    Args:
        case: the case.
        images: of `case.data`.
        folder: where model file and planted images are written; a model file there is used again.
        backbone: for a frozen network.
        epochs: of the training of a network from scratch.
    """
    class_id = len(images.labels) - 1
    place = folder / case.name
    place.mkdir(parents=True, exist_ok=True)
    target = place / "model.onnx"
    if not target.exists():
        train = planted(images.train, case.plant, class_id, case.strength, case.seed)
        if case.network == "scratch":
            train_from_scratch(train, images.labels, target, seed=case.seed, epochs=epochs)
        else:
            assert backbone is not None
            backbone.train(train, images.labels, target, seed=case.seed)
    test = planted(images.test, case.plant, class_id, case.strength, case.seed + 100)
    data = place / "images"
    if not data.exists():
        write(test, images.labels, data)
    model = camrt.load(target, provider="cpu", threads=1)
    with_it, without = (recall(model, split, class_id) for split in (test, images.test))
    found, proved, experiments = prove(model, data, seed=case.seed)
    (place / "audit.json").write_text(found.to_json())
    rank = next(
        (
            number
            for number, one in enumerate(found.findings, 1)
            if case.plant is not None and one.class_id == class_id and one.kind in RIGHT_KINDS[case.plant]
        ),
        None,
    )
    used = case.plant is not None and with_it - without >= USED
    repaired = None
    if used and rank is not None:
        repaired = _repaired(repair_finding(proved[rank - 1], experiments, case.seed), place, test, images, class_id)
    return asdict(case) | {
        "classes": len(images.labels),
        "accuracy": float(np.mean([one.accuracy for one in found.classes])),
        "recall_with": with_it,
        "recall_without": without,
        "used": used,
        "rank": rank,
        "findings": [f"{one.label}: {one.kind} ({one.effect:.2f})" for one in found.findings],
        "classes_with_findings": len({one.class_id for one in found.findings}),
        "passes": found.passes,
        "repair": repaired,
    }


def _repaired(done: Repair, place: Path, test: Split, images: Images, class_id: int) -> dict[str, Any]:
    """Write the repaired file, and return its recall on the images that the repair has not seen, as the old one's."""
    target = place / "repaired.onnx"
    replace_head(
        place / "model.onnx",
        target,
        weights=done.weights,
        bias=done.bias,
        images=done.checked,
        origin={"repaired": done.finding.kind},
        overwrite=True,
    )
    numbers = [int(Path(name).stem) for name in done.held_out]
    own = [number for number in numbers if test.classes[number] == class_id]
    others = [number for number in numbers if test.classes[number] != class_id]
    row: dict[str, Any] = {"better": done.better, "reached": done.reached}
    for time, file in (("before", place / "model.onnx"), ("after", target)):
        model = camrt.load(file, provider="cpu", threads=1)
        for state, split, some in (
            ("with", test, own),
            ("without", images.test, own),
            ("others", images.test, others),
        ):
            right = [model(split.images[number]).class_id == split.classes[number] for number in some]
            row[f"{state}_{time}"] = float(np.mean(right))
    return row
