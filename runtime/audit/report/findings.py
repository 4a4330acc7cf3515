"""First part of an audit's page: verdict, and the ranked findings with their proof."""

from collections.abc import Iterator

import cv2
import numpy as np

from camrt.runtime.audit.finding import Arm, AuditData, Finding
from camrt.runtime.audit.regions import REGIONS, region_mask
from camrt.runtime.audit.report.figures import example_figure
from camrt.runtime.report import html

_CELLS = 112
"""Rows and columns of the grid on which a map's share of a region is measured."""


def verdict(audit: AuditData) -> str:
    """Return the result in one sentence."""
    count = len(audit.classes)
    if audit.findings:
        first = audit.findings[0]
        labels = {one.label for one in audit.findings}
        more = f" {len(audit.findings) - 1} more below." if len(audit.findings) > 1 else ""
        return f"The model takes a shortcut in {len(labels)} of {count} classes: {_split(first.title)[0]}.{more}"
    if not audit.tests:
        return "Nothing is proved: no class could be tested. The remarks below say why."
    rest = count - audit.tested_classes
    untested = f" {rest} of {count} classes were not tested." if rest else ""
    return (
        f"No shortcut was found: none of {audit.tests} experiments on {audit.tested_classes} classes rises above the "
        f"noise floor.{untested}"
    )


def verdict_part(audit: AuditData) -> str:
    """Return the verdict for the page."""
    state = "failed" if audit.findings else "passed" if audit.tests else "open"
    return html.verdict(verdict(audit), state)  # type: ignore[arg-type]


def finding_part(audit: AuditData, number: int, finding: Finding) -> str:
    """Return a finding with its numbers, proof and images; ``number``: its rank, 1 first."""
    low, high = finding.interval
    claim, numbers = _split(finding.title)
    lost = [example_figure(one, finding.label) for one in finding.examples if not one.added]
    gained = [example_figure(one, finding.label) for one in finding.examples if one.added]
    parts = [
        html.section(f"{number}. {claim}", f"finding-{number}", level=3),
        html.paragraph(f"{numbers[:1].upper()}{numbers[1:]}"),
        html.paragraph(
            f"Kind {finding.kind}. Effect: {finding.effect:.0%} of the answers flip because of it (95% interval "
            f"{low:.0%} to {high:.0%}); p = {finding.p_value:.1g}, corrected for {audit.tests} experiments."
        ),
        *_share(audit, finding),
        html.paragraph(f"Experiment: {finding.proof.experiment}."),
        html.table(("answers that flip", "by the evidence", "by the control", "images"), _arms(finding)),
    ]
    if also := finding.details.get("also"):
        parts.append(html.paragraph(f"The same was shown with: {', '.join(also)}."))
    if lost:
        parts.append(html.paragraph(f"Images of {finding.label!r} before and after they lose it:"))
        parts.append(html.gallery(lost))
    if gained:
        parts.append(
            html.paragraph(
                f"Images of other classes before and after they get it, all of which flip to {finding.label!r}:"
            )
        )
        parts.append(html.gallery(gained))
    return html.card(parts)


def _split(title: str) -> tuple[str, str]:
    """Return the claim of a title, and its numbers. A label may have colons, too."""
    for begin in (": adding it", ": removing it"):
        claim, colon, rest = title.partition(begin)
        if colon:
            return claim, colon[2:] + rest
    return title, ""


def _arms(finding: Finding) -> Iterator[tuple[str, ...]]:
    directions = (
        (f"others get it and become {finding.label!r}", finding.proof.added),
        (f"images of {finding.label!r} lose it and leave", finding.proof.removed),
    )
    for words, arm in directions:
        if arm is not None:
            yield words, html.bar(arm.treated), html.bar(arm.control, calm=True), _images(arm)


def _images(arm: Arm) -> str:
    return f"{arm.images} ({arm.independent} independent)" if arm.independent < arm.images else str(arm.images)


def _share(audit: AuditData, finding: Finding) -> Iterator[str]:
    """Yield the share of the class's evidence at the place of a finding, where it has a fixed one."""
    place = finding.details.get("place")
    names = {words: name for regions in REGIONS.values() for name, words in regions.items()}
    if place not in names or finding.kind == "background":
        return
    samples = audit.samples
    region = region_mask(names[place], _CELLS, _CELLS)
    shares = []
    for number in samples.of_class(finding.class_id).tolist():
        cam = cv2.resize(samples.positive_map(number), (_CELLS, _CELLS), interpolation=cv2.INTER_LINEAR)
        if cam.sum() > 0:
            shares.append(float(cam[region].sum() / cam.sum()))
    if shares:
        yield html.paragraph(
            f"Of the evidence for {finding.label!r}, {np.mean(shares):.0%} lies there, on {region.mean():.0%} of the "
            "area."
        )
