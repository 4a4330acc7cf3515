"""Last part of an audit's page: the meaning of each number, and the way to repeat the audit."""

import shlex
from collections.abc import Sequence
from pathlib import PurePath

from camrt.runtime.audit.finding import AuditData
from camrt.runtime.report import html

_WORDS = (
    ("finding", "A part or a property of images, other than the object, that decides. It is proved by experiments."),
    (
        "experiment",
        "Two changes of the same image are compared: one with the evidence, and the control, which disturbs the image "
        "in the same way without the evidence. Images of other classes get the evidence; images of the class lose it.",
    ),
    (
        "effect",
        "Share of the answers that flip by the evidence, minus that of the control, as a mean of both directions. Its "
        "interval of 95% is that of 1,000 draws of independent pairs, with replacement.",
    ),
    (
        "p",
        "Probability of such a difference where there is none: a paired t-test of the margin (logit of the class minus "
        "the best other one), the larger value of both directions, corrected for all experiments (Benjamini and "
        "Hochberg 1995). Compression cannot be removed, so only adding it counts. A finding has at most 0.01, an "
        "effect of at least 10 points, and an interval that begins at 5 points or above.",
    ),
    ("accuracy", "Share of the images of a class with the class as the answer. Interval of 95% after Wilson (1927)."),
    ("mean score", "Mean of the class's score over its images, as the model gives it."),
    (
        "map",
        "Class activation map: the evidence for a class at each place, in logits. Its mean plus the bias is the logit "
        "of the class (Zhou et al. 2016). Red is the most evidence of this image, transparent the least.",
    ),
    (
        "map on object",
        "Share of the map's positive part that lies on the object: on its boxes or masks where the data state them, "
        "else on an estimate from the pixels alone (GrabCut), which has errors.",
    ),
    (
        "centre, entropy, distance",
        "In the tables: share of the positive map in the middle half of both sides; spread of the positive map from 0 "
        "(one cell) to 1 (even); 1 minus the correlation with the mean map of the other images of the class.",
    ),
    (
        "group",
        "Each image is compared with the mean of its class, because groups have different classes. A marked value "
        "differs from that of permuted groups, corrected for all groups and measures, with a p of at most 0.05.",
    ),
    (
        "baseline",
        "Intervals of 95%: Agresti and Min (2005) for the accuracy on the same images, Newcombe (1998) on different "
        "ones, Student's and Welch's t for attention. A marked difference has a corrected p of at most 0.05.",
    ),
    (
        "suspicion",
        "An observation that no experiment proves: a place with more evidence than under permuted labels, a component "
        "of the features that few images have, a cluster of maps.",
    ),
)


def method_parts() -> list[str]:
    """Return the meaning of the numbers."""
    return [html.section("Method", "method"), html.definitions(_WORDS)]


def reproduction_parts(audit: AuditData) -> list[str]:
    """Return the command, the model's checksum and the versions."""
    run = audit.run
    rows = [
        ("model", PurePath(audit.model).name),
        ("SHA-256 of the model", run.model_sha256),
        ("provider", f"{run.provider}, {run.threads} threads"),
        ("seed", str(run.seed)),
        ("forward passes", f"{audit.passes} of experiments; budget {run.passes}"),
        ("versions", ", ".join(f"{name} {number}" for name, number in run.versions.items())),
    ]
    return [html.section("Reproduce", "reproduce"), html.code(shlex.join(command(audit))), html.definitions(rows)]


def command(audit: AuditData) -> Sequence[str]:
    """Return the command that repeats the audit."""
    run = audit.run
    words = ["camrt", "audit", audit.model, audit.dataset or "FOLDER", "-o", "report"]
    if audit.grouping is not None:
        words += ["--group-by", audit.grouping.by]
    words += ["--provider", run.provider, "--threads", str(run.threads), "--seed", str(run.seed)]
    return [*words, "--passes", str(run.passes)]
