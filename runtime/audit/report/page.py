"""Page of an audit: verdict and findings first, then classes, data, method. It is one file that loads nothing."""

from pathlib import PurePath

from camrt.runtime.audit.finding import AuditData
from camrt.runtime.audit.report.classes import class_parts
from camrt.runtime.audit.report.comparisons import comparison_parts, group_parts
from camrt.runtime.audit.report.figures import Figures
from camrt.runtime.audit.report.findings import finding_part, verdict_part
from camrt.runtime.audit.report.method import method_parts, reproduction_parts
from camrt.runtime.report import html


def page(audit: AuditData) -> str:
    """Return the page. The images that it shows are read and classified again."""
    name = PurePath(audit.model).name
    figures = Figures(audit)
    places = [("Findings", "findings")] if audit.findings else []
    if audit.comparison is not None:
        places.append(("Baseline", "baseline"))
    if audit.grouping is not None:
        places.append(("Groups", "groups"))
    places += [("Classes", "classes"), ("Data", "data"), ("Method", "method"), ("Reproduce", "reproduce")]
    parts = [
        verdict_part(audit),
        html.paragraph(
            f"{audit.images} images of {len(audit.classes)} classes; {audit.tests} experiments on "
            f"{audit.tested_classes} classes, {audit.passes} forward passes."
        ),
        html.navigation(places),
    ]
    if audit.findings:
        parts.append(html.section("Findings", "findings"))
        parts += [finding_part(audit, number, one) for number, one in enumerate(audit.findings, 1)]
    if audit.comparison is not None:
        parts += comparison_parts(audit.comparison)
    if audit.grouping is not None:
        parts += group_parts(audit.grouping)
    parts += [html.section("Classes", "classes"), *class_parts(audit, figures)]
    parts += [html.section("Data", "data"), html.listing(audit.remarks or ["Nothing to remark."])]
    parts += [*method_parts(), *reproduction_parts(audit)]
    return html.document(name, f"{name} on {audit.dataset or 'images in memory'}", parts)
