"""Parts of an audit's page that compare: groups of images, and an earlier audit."""

from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Final

from camrt.runtime.audit.baseline import ATTENTION, Comparison, Difference
from camrt.runtime.audit.groups import MEASURES, Group, Grouping
from camrt.runtime.report import html

_ROWS: Final = 60
_WORDS: Final = {
    "new": "new",
    "gone": "gone",
    "larger": "larger effect",
    "smaller": "smaller effect",
    "same": "no clear change",
    "not tested": "not tested now",
}


def group_parts(grouping: Grouping) -> Iterator[str]:
    """Yield the table of the groups."""
    yield html.section(f"Groups by {grouping.by}", "groups")
    yield html.paragraph(groups_sentence(grouping))
    header = ["group", "images"]
    for words in MEASURES.values():
        header += [words, "95% interval", "images of these classes"]
    yield html.table(header, [_group_row(one) for one in grouping.groups[:_ROWS]])
    if len(grouping.groups) > _ROWS:
        yield html.paragraph(f"{len(grouping.groups) - _ROWS} more groups are in report.json.")


def groups_sentence(grouping: Grouping) -> str:
    """Return the result of a comparison of groups in words."""
    differing = [one for one in grouping.groups if one.differs]
    small = f" {grouping.small} groups have fewer than 4 images and are not compared." if grouping.small else ""
    if not differing:
        return f"None of {len(grouping.groups)} groups differs from the others by more than noise.{small}"
    words = "; ".join(f"{one.name}: {', '.join(_group_words(one))}" for one in differing[:5])
    return f"{len(differing)} of {len(grouping.groups)} groups differ by more than noise: {words}.{small}"


def _group_words(group: Group) -> Iterator[str]:
    for key in group.differs:
        one = group.values[key]
        yield f"{MEASURES[key]} {one.value:.0%} instead of {one.expected:.0%}"


def _group_row(group: Group) -> Sequence[str]:
    cells = [group.name, str(group.images)]
    for key in MEASURES:
        if key not in group.values:
            cells += ["", "", ""]
            continue
        one = group.values[key]
        value = f"{one.value:.0%}"
        low, high = one.interval
        cells += [html.warning(value) if one.differs else value, f"{low:.0%} - {high:.0%}", f"{one.expected:.0%}"]
    return cells


def comparison_parts(comparison: Comparison) -> Iterator[str]:
    """Yield the changes of findings, and the differences of the classes."""
    name = PurePath(comparison.model).name
    yield html.section("Baseline", "baseline")
    yield html.paragraph(
        f"Compared with {name} (SHA-256 {comparison.model_sha256[:12]}...) on {comparison.images} images of "
        f"{comparison.dataset}; {comparison.paired} images are the same."
    )
    yield html.paragraph(comparison_sentence(comparison))
    if comparison.findings:
        rows = [
            (
                html.warning(_WORDS[one.state]) if one.state in ("new", "larger") else _WORDS[one.state],
                one.kind,
                one.label,
                "" if one.before is None else f"{one.before:.0%}",
                "" if one.after is None else f"{one.after:.0%}",
            )
            for one in comparison.findings
        ]
        yield html.table(("finding", "kind", "class", "effect before", "effect now"), rows)
    clear = [one for one in comparison.differences if one.clear]
    shown = [*clear, *(one for one in comparison.differences if not one.clear)][:_ROWS]
    if shown:
        header = ("class", "", "before", "now", "difference", "95% interval", "images")
        yield html.table(header, [_difference_row(one) for one in shown])
        yield html.paragraph(
            "Marked differences exceed noise, corrected for all of them. Images that both audits have are compared in "
            "pairs."
        )
    if len(comparison.differences) > len(shown):
        yield html.paragraph(f"{len(comparison.differences) - len(shown)} more differences are in report.json.")
    if comparison.remarks:
        yield html.listing(comparison.remarks)


def comparison_sentence(comparison: Comparison) -> str:
    """Return the result of a comparison with an earlier audit in words."""
    counts = {state: sum(one.state == state for one in comparison.findings) for state in _WORDS}
    states = [f"{count} {_WORDS[state]}" for state, count in counts.items() if count]
    findings = f"Findings: {', '.join(states)}." if states else "Neither audit has a finding."
    clear = [one for one in comparison.differences if one.clear]
    accuracy = [one for one in clear if one.measure == "accuracy"]
    words = [f"{one.label}: {_words(one)} {one.before:.0%} to {one.after:.0%}" for one in [*accuracy, *clear][:3]]
    if not clear:
        return f"{findings} No class differs by more than noise in accuracy or attention."
    classes = len({one.label for one in clear})
    return f"{findings} {classes} classes differ by more than noise, such as {'; '.join(dict.fromkeys(words))}."


def _words(one: Difference) -> str:
    return "accuracy" if one.measure == "accuracy" else ATTENTION[one.measure]


def _difference_row(one: Difference) -> Sequence[str]:
    low, high = one.interval
    difference = f"{one.after - one.before:+.1%}"
    return (
        one.label,
        _words(one),
        f"{one.before:.1%}",
        f"{one.after:.1%}",
        html.warning(difference) if one.clear else difference,
        f"{low:+.1%} to {high:+.1%}",
        f"{one.paired} pairs" if one.paired else "different ones",
    )
