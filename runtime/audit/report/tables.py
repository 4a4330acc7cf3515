"""Tables of an audit in CSV: one line an image, one line a finding."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any, Final

from camrt.runtime.audit.finding import AuditData
from camrt.runtime.audit.images import COLUMNS, image_rows

_FINDING: Final = ("rank", "kind", "class", "effect", "low", "high", "p_value", "place", "title", "images")


def images_csv(audit: AuditData) -> str:
    """Return one line for each image, by `COLUMNS`, and its group."""
    groups = None if audit.grouping is None else audit.grouping.names
    columns = COLUMNS if groups is None else (*COLUMNS, "group")
    rows = image_rows(audit.samples, audit.classifier.labels, groups)
    return _table(columns, ([row[key] for key in columns] for row in rows))


def findings_csv(audit: AuditData) -> str:
    """Return one line for each finding, the most serious first; ``images`` are joined by semicolons."""
    rows = [
        [
            *(number, one.kind, one.label, one.effect, *one.interval, one.p_value),
            *(one.details.get("place", ""), one.title, "; ".join(one.images)),
        ]
        for number, one in enumerate(audit.findings, 1)
    ]
    return _table(_FINDING, rows)


def _table(titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(titles)
    writer.writerows(rows)
    return text.getvalue()
