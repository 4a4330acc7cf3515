"""Results of an audit: findings with their proof, summaries of classes, and the whole."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from camrt.images import Image
from camrt.runtime.audit.images import image_rows
from camrt.runtime.audit.reference import reference_of

if TYPE_CHECKING:
    from camrt.runtime.audit.baseline import Comparison
    from camrt.runtime.audit.groups import Grouping
    from camrt.runtime.audit.samples import Samples
    from camrt.runtime.inference.model import Model


@dataclass(frozen=True, slots=True)
class Arm:
    """One direction of an experiment: the same images, changed in two ways."""

    images: int
    """Number of changed images."""
    independent: int
    """Number of independent pairs among them: the fewest different recipients or donors."""
    treated: float
    """Share of the images whose answer is flipped by the change that carries the suspected evidence, in [0, 1]."""
    control: float
    """The same share for the change without it."""
    t: float
    """Student's t of the paired differences of the margin of the class's logit over the best other one."""

    @property
    def effect(self) -> float:
        """Share of the answers that flip because of the evidence, in [-1, 1]."""
        return self.treated - self.control


@dataclass(frozen=True, slots=True)
class Proof:
    """Experiment that shows that the model uses the evidence."""

    experiment: str
    """The change, in words."""
    added: Arm
    """Images of other classes get the evidence: answers that become the class."""
    removed: Arm
    """Images of the class lose it: answers that leave the class."""
    passes: int
    """Forward passes of the experiment."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """An image as the network received it in an experiment, with the answer and the map of the suspected class."""

    image: Image
    """uint8 (height, width, 3) BGR, the network's size."""
    cam: NDArray[np.float32]
    """float32 (h, w), in logits per cell."""
    answer: str
    score: float
    """Score of the suspected class."""


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One image before and after a change of an experiment."""

    added: bool
    """An image of another class gets the evidence; False: an image of the class loses it."""
    image: str
    """Name of the image."""
    donor: str
    """Name of the image that the evidence comes from; empty: it needs none."""
    before: View
    after: View


@dataclass(frozen=True, slots=True)
class Finding:
    """A shortcut that the model uses for a class."""

    kind: str
    """One of `camrt.runtime.audit.audit.KINDS`."""
    class_id: int
    label: str
    title: str
    """The finding in one sentence, with numbers."""
    effect: float
    """Mean share of flipped answers, above the control, of both directions."""
    interval: tuple[float, float]
    """Of 95 %, of the effect."""
    p_value: float
    """Corrected for the number of tests."""
    images: Sequence[str]
    """Typical images of the class, most affected first."""
    proof: Proof
    details: Mapping[str, Any] = field(default_factory=dict)
    """Further numbers: places, shifts, and other tests that show the same."""
    examples: Sequence[Example] = field(default=(), repr=False)
    """Images whose answer an experiment flips, for reports; not in JSON."""

    def as_dict(self) -> dict[str, Any]:
        """Return the finding for JSON."""
        proof = asdict(self.proof)
        for name, arm in (("added", self.proof.added), ("removed", self.proof.removed)):
            proof[name]["effect"] = arm.effect
        return {
            "kind": self.kind,
            "class_id": self.class_id,
            "class": self.label,
            "title": self.title,
            "effect": self.effect,
            "interval": list(self.interval),
            "p_value": self.p_value,
            "images": list(self.images),
            "proof": proof,
            "details": dict(self.details),
        }


@dataclass(frozen=True, slots=True)
class ClassSummary:
    """Figures of a class of the data."""

    class_id: int
    label: str
    images: int
    accuracy: float
    """Share of the images with the class as the answer."""
    confidence: float
    """Mean score of the class."""
    mean_map: NDArray[np.float32]
    """float32 (h, w): mean of the class's maps, each scaled to [0, 1]."""
    confusions: Sequence[tuple[str, int]]
    """Wrong answers and their numbers, most frequent first."""
    on_object: float | None
    """Mean share of the positive map on the object, in [0, 1]; None: no map has positive values."""
    positions: Sequence[tuple[str, float]] = ()
    """Parts of the image with more evidence than for the other classes, in standard errors; above the noise floor."""
    components: Sequence[Mapping[str, Any]] = ()
    """Suspicious components of the class's evidence, see `camrt.runtime.audit.components`."""
    clusters: Sequence[Mapping[str, Any]] = ()
    """Clusters of the class's maps, see `camrt.runtime.audit.clusters`."""
    wrong_reason: Sequence[str] = ()
    """Images with the right answer and little of the map on the object."""
    wrong_answer: Sequence[str] = ()
    """Images with a wrong answer and the map on the object, most confident first."""

    def as_dict(self) -> dict[str, Any]:
        """Return the summary for JSON."""
        return {
            "class_id": self.class_id,
            "class": self.label,
            "images": self.images,
            "accuracy": self.accuracy,
            "confidence": self.confidence,
            "mean_map": np.round(self.mean_map.astype(float), 4).tolist(),
            "confusions": [{"class": name, "images": count} for name, count in self.confusions],
            "on_object": self.on_object,
            "positions": [{"part": part, "standard_errors": value} for part, value in self.positions],
            "components": [dict(one) for one in self.components],
            "clusters": [dict(one) for one in self.clusters],
            "wrong_reason": list(self.wrong_reason),
            "wrong_answer": list(self.wrong_answer),
        }


@dataclass(frozen=True, slots=True)
class Run:
    """Facts that repeat an audit."""

    model_sha256: str
    provider: str
    threads: int
    seed: int
    passes: int
    """Budget of forward passes."""
    versions: Mapping[str, str]
    """Versions of the packages, by name."""


@dataclass(frozen=True, eq=False)
class AuditData:
    """Everything that an audit has found."""

    model: str
    dataset: str
    images: int
    """Images that were classified and have a class that the model knows."""
    classes: Sequence[ClassSummary]
    findings: Sequence[Finding]
    """Most serious first."""
    tests: int
    """Experiments, of which the p-values are corrected for the number."""
    tested_classes: int
    """Classes with experiments; the budget of forward passes limits them."""
    passes: int
    """Forward passes of all experiments."""
    remarks: Sequence[str]
    """Lines about images and classes that were left out, about observations that are no proof, and limits."""
    run: Run
    samples: "Samples" = field(repr=False)
    """The classified images."""
    classifier: "Model" = field(repr=False)
    """The model; a report runs it on the images that it shows."""
    grouping: "Grouping | None" = None
    """Comparison of groups of images, where one was requested."""
    comparison: "Comparison | None" = None
    """Comparison with an earlier audit, where one was given."""

    @property
    def clean(self) -> bool:
        """Tell whether nothing rises above the noise floor."""
        return not self.findings

    def as_dict(self) -> dict[str, Any]:
        """Return the audit for JSON."""
        groups = None if self.grouping is None else self.grouping.names
        return {
            "model": self.model,
            "dataset": self.dataset,
            "images": self.images,
            "clean": self.clean,
            "findings": [one.as_dict() for one in self.findings],
            "classes": [one.as_dict() for one in self.classes],
            "tests": self.tests,
            "tested_classes": self.tested_classes,
            "passes": self.passes,
            "remarks": list(self.remarks),
            "run": asdict(self.run),
            "reference": reference_of(self.samples, self.classifier.labels),
            "groups": None if self.grouping is None else self.grouping.as_dict(),
            "comparison": None if self.comparison is None else self.comparison.as_dict(),
            "per_image": image_rows(self.samples, self.classifier.labels, groups),
        }

    def to_json(self) -> str:
        """Return the audit as JSON."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False)
