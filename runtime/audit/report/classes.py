"""Second part of an audit's page: a table of the classes, and a section for each."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Final

import numpy as np

from camrt.progress import Progress
from camrt.runtime.audit.finding import AuditData, ClassSummary
from camrt.runtime.audit.rates import share_interval
from camrt.runtime.audit.report.figures import Figures, clusters, mean_map
from camrt.runtime.report import html

_MOST_CHARACTERS: Final = 12_000_000
"""Length of all sections together: a page of this size opens on a phone, and 1,000 classes would be ten times more."""
_PROGRESS_AFTER_S: Final = 2.0
_TYPICAL: Final = 4
_ERRORS: Final = 6
_CONFUSIONS: Final = 5
_COMPONENTS: Final = 3
_LEAST_LOGITS: Final = 0.5


def class_parts(audit: AuditData, figures: Figures) -> Iterator[str]:
    """Yield the table, and sections as far as the page has room, the most suspicious classes first."""
    ordered = sorted(audit.classes, key=lambda one: _order(audit, one))
    sections: list[str] = []
    length = 0
    with closing(Progress(len(ordered), "classes", after_s=_PROGRESS_AFTER_S)) as progress:
        for summary in ordered:
            if length > _MOST_CHARACTERS:
                break
            sections.append("".join(_class_section(audit, summary, figures)))
            length += len(sections[-1])
            progress.step()
    shown = {one.class_id for one in ordered[: len(sections)]}
    yield html.table(
        ("class", "images", "accuracy", "95% interval", "mean score", "map on object", "findings", "confused with"),
        [_row(audit, one, linked=one.class_id in shown) for one in ordered],
    )
    if left := len(ordered) - len(sections):
        yield html.paragraph(
            f"{left} more classes have no section, to keep the page small; report.json has the numbers of all."
        )
    yield from sections


def _order(audit: AuditData, summary: ClassSummary) -> tuple[bool, float, str]:
    """Return a sort key: classes with a finding first, then those with the lowest accuracy."""
    return all(one.class_id != summary.class_id for one in audit.findings), summary.accuracy, summary.label


def _row(audit: AuditData, summary: ClassSummary, *, linked: bool) -> Sequence[str]:
    low, high = _interval(summary)
    count = sum(one.class_id == summary.class_id for one in audit.findings)
    return (
        html.link(summary.label, _anchor(summary)) if linked else summary.label,
        str(summary.images),
        f"{summary.accuracy:.0%}",
        f"{low:.0%} - {high:.0%}",
        f"{summary.confidence:.2f}",
        "" if summary.on_object is None else f"{summary.on_object:.0%}",
        html.warning(str(count)) if count else "",
        ", ".join(f"{name} ({number})" for name, number in summary.confusions[:2]),
    )


def _interval(summary: ClassSummary) -> tuple[float, float]:
    return share_interval(round(summary.accuracy * summary.images), summary.images)


def _anchor(summary: ClassSummary) -> str:
    return f"class-{summary.class_id}"


def _class_section(audit: AuditData, summary: ClassSummary, figures: Figures) -> Iterator[str]:
    low, high = _interval(summary)
    share = "" if summary.on_object is None else f" {summary.on_object:.0%} of the map lies on the object."
    yield html.section(summary.label, _anchor(summary), level=3)
    yield html.paragraph(
        f"{summary.images} images. {summary.accuracy:.0%} have the right answer (95% interval {low:.0%} to "
        f"{high:.0%}); the mean score of the class is {summary.confidence:.2f}.{share}"
    )
    for number, finding in enumerate(audit.findings, 1):
        if finding.class_id == summary.class_id:
            yield html.paragraph(
                html.link(f"Finding {number}: {finding.details.get('place', '')}", f"finding-{number}")
            )
    numbers = audit.samples.of_class(summary.class_id)
    yield html.paragraph("Mean map, and typical maps: the images whose maps are most like it.")
    typical = [figures.typical(number) for number in _typical(audit, summary, numbers.tolist())]
    yield html.gallery([mean_map(summary.mean_map, ["mean map"]), *typical], small=True)
    yield from _suspicions(summary)
    wrong = _errors(audit, numbers.tolist())
    if wrong:
        yield html.paragraph("Most confident errors: map of the true class, and map of the answer.")
        yield html.gallery(figures.error(number) for number in wrong)
    if summary.confusions:
        more = summary.confusions[_CONFUSIONS:]
        rows = [(name, f"{count} of {summary.images}") for name, count in summary.confusions[:_CONFUSIONS]]
        if more:
            rows.append((f"{len(more)} other classes", f"{sum(count for _, count in more)} of {summary.images}"))
        yield html.table(("confused with", "images"), rows)
    for title, names in (
        ("Right answers with little of the map on the object:", summary.wrong_reason),
        ("Wrong answers with most of the map on the object:", summary.wrong_answer),
    ):
        if names:
            yield html.paragraph(title)
            yield html.gallery((figures.typical(figures.numbers[name]) for name in names[:_TYPICAL]), small=True)


def _suspicions(summary: ClassSummary) -> Iterator[str]:
    """Yield observations that no experiment has proved."""
    lines = [
        f"More evidence at {part} than for other classes ({value:.1f} standard errors)."
        for part, value in summary.positions
    ]
    lines += [
        f"{one['share']:.0%} of the images share a component that adds {one['logits']:.1f} logits, such as "
        f"{', '.join(one['images'][:2])}."
        for one in summary.components[:_COMPONENTS]
        if one["logits"] >= _LEAST_LOGITS
    ]
    if lines:
        yield html.paragraph("Suspicions without a proof:")
        yield html.listing(lines)
    if summary.clusters:
        yield html.paragraph("Clusters of maps, the smallest first:")
        yield clusters(summary.clusters)


def _typical(audit: AuditData, summary: ClassSummary, numbers: Sequence[int]) -> list[int]:
    """Return the images whose maps are nearest to the mean map."""
    maps = audit.samples.maps[numbers].astype(np.float32) / 255
    distances = ((maps - summary.mean_map) ** 2).mean(axis=(1, 2))
    return [numbers[one] for one in np.argsort(distances, kind="stable")[:_TYPICAL]]


def _errors(audit: AuditData, numbers: Sequence[int]) -> list[int]:
    """Return the most confident errors: one of each confusion first, most frequent first, then the others."""
    samples = audit.samples
    wrong = [one for one in numbers if samples.predicted[one] != samples.classes[one]]
    wrong.sort(key=lambda one: -float(samples.predicted_scores[one]))
    answers = [int(samples.predicted[one]) for one in wrong]
    order = sorted(dict.fromkeys(answers), key=lambda answer: -answers.count(answer))
    first = [wrong[answers.index(answer)] for answer in order]
    return [*first, *(one for one in wrong if one not in first)][:_ERRORS]
