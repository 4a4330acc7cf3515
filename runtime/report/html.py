"""Parts of a report page: document, table, inline image, figure. The page is one file that loads nothing.

Each function returns HTML. It escapes its arguments, except ``parts``, ``images`` and texts of the type `Html`, which
are HTML of this module.
"""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final, Literal

import cv2

from camrt.images import Image

_JPEG_QUALITY: Final = 85

_STYLE: Final = """
:root { color-scheme: light dark; --back: #fff; --text: #1a1d21; --soft: #667; --line: #dde; --bad: #b3261e;
  --good: #1b7f3b; }
@media (prefers-color-scheme: dark) {
  :root { --back: #14171a; --text: #e6e8ea; --soft: #9aa3ad; --line: #30363d; --bad: #ff8a80;
    --good: #7bd88f; }
}
body { background: var(--back); color: var(--text); font: 16px/1.5 system-ui, sans-serif; margin: 0 auto;
  max-width: 64rem; padding: 1rem; }
h1 { font-size: 1.4rem; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .8rem .3rem 0; text-align: left; }
.gallery { display: grid; gap: 1.2rem; margin: .5rem 0 1.2rem;
  grid-template-columns: repeat(auto-fill, minmax(min(19rem, 100%), 1fr)); }
figure { margin: 0; } .row { display: grid; gap: 4px; grid-auto-columns: 1fr; grid-auto-flow: column; }
img { display: block; width: 100%; } figcaption { color: var(--soft); font-size: .85rem; overflow-wrap: anywhere; }
.bad { color: var(--bad); }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; overflow-wrap: anywhere; } a { color: inherit; }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; }
.verdict { border-left: .4rem solid var(--soft); font-size: 1.25rem; line-height: 1.35; margin: 1rem 0;
  overflow-wrap: anywhere; padding: .3rem 0 .3rem .8rem; }
.verdict.failed { border-color: var(--bad); } .verdict.passed { border-color: var(--good); }
.card { border: 1px solid var(--line); border-radius: .5rem; margin: 1rem 0; padding: .2rem 1rem 1rem; }
p { overflow-wrap: anywhere; } td, th { vertical-align: top; } th { font-weight: 600; }
.bar { background: var(--line); display: inline-block; height: .7rem; margin-right: .5rem; width: 6rem; }
.bar i { background: var(--bad); display: block; height: 100%; } .bar.calm i { background: var(--soft); }
pre { background: var(--line); overflow-x: auto; padding: .6rem; white-space: pre-wrap; overflow-wrap: anywhere; }
dt { font-weight: 600; margin-top: .5rem; } dd { margin-left: 1rem; } dd, li { overflow-wrap: anywhere; }
.small { grid-template-columns: repeat(auto-fill, minmax(min(9rem, 45%), 1fr)); }
@media print {
  :root { color-scheme: light; --back: #fff; --text: #000; --soft: #555; --line: #ccc; --bad: #b3261e;
    --good: #1b7f3b; }
  body { font-size: 11px; max-width: none; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  nav { display: none; } figure, tr, .verdict { break-inside: avoid; } h2, h3 { break-after: avoid; }
  .wide { overflow-x: visible; }
}
"""


class Html(str):
    """Text that is HTML of this module, so that it is not escaped."""

    __slots__ = ()


def _escaped(text: str) -> str:
    return text if isinstance(text, Html) else escape(text)


def document(title: str, heading: str, parts: Iterable[str]) -> str:
    """Return a whole page.

    Args:
        title: in the browser's tab.
        heading: at the top of the page.
        parts: HTML of the body, in order.
    """
    body = "\n".join(parts)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{_STYLE}</style></head><body>
<h1>{escape(heading)}</h1>
{body}
</body></html>
"""


def section(heading: str, anchor: str = "", *, level: int = 2) -> str:
    """Return the heading of a section.

    Args:
        heading: its text.
        anchor: name of the place, for `link`; empty: it has none.
        level: 2 for a section of the page, 3 for a part of one.
    """
    place = f' id="{escape(anchor)}"' if anchor else ""
    return f"<h{level}{place}>{_escaped(heading)}</h{level}>"


def paragraph(text: str) -> str:
    """Return a paragraph."""
    return f"<p>{_escaped(text)}</p>"


def link(text: str, anchor: str) -> Html:
    """Return a link to a section of the page."""
    return Html(f'<a href="#{escape(anchor)}">{escape(text)}</a>')


def navigation(places: Iterable[tuple[str, str]]) -> str:
    """Return links to sections: text and anchor of each."""
    return f"<nav>{' '.join(link(text, anchor) for text, anchor in places)}</nav>"


def verdict(text: str, state: Literal["passed", "failed", "open"]) -> str:
    """Return the sentence that sums up a page."""
    return f'<p class="verdict {state}">{escape(text)}</p>'


def card(parts: Iterable[str]) -> str:
    """Return parts in a frame."""
    return f'<div class="card">{"".join(parts)}</div>'


def bar(share: float, *, calm: bool = False) -> Html:
    """Return a bar and its value in percent; ``share``: in [0, 1]; ``calm``: in grey, as a value to compare with."""
    width = min(max(share, 0.0), 1.0)
    kind = "bar calm" if calm else "bar"
    return Html(f'<span class="{kind}"><i style="width:{width:.0%}"></i></span>{share:.0%}')


def warning(text: str) -> Html:
    """Return a text in red."""
    return Html(f'<span class="bad">{escape(text)}</span>')


def listing(lines: Iterable[str]) -> str:
    """Return a list with a dot for each line."""
    return f"<ul>{''.join(f'<li>{_escaped(line)}</li>' for line in lines)}</ul>"


def definitions(pairs: Iterable[tuple[str, str]]) -> str:
    """Return terms and their explanations."""
    return f"<dl>{''.join(f'<dt>{escape(term)}</dt><dd>{escape(text)}</dd>' for term, text in pairs)}</dl>"


def code(text: str) -> str:
    """Return a block of code."""
    return f"<pre>{escape(text)}</pre>"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; without a header it begins with the first row. It scrolls sideways on a narrow screen."""
    head = f"<tr>{''.join(f'<th>{escape(cell)}</th>' for cell in header)}</tr>" if header else ""
    body = "".join(f"<tr>{''.join(f'<td>{_escaped(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table>{head}{body}</table></div>'


def inline_image(image: Image, alt: str) -> str:
    """Return an image whose pixels are part of the page, as JPEG.

    Args:
        image: uint8 (H, W, 3) BGR.
        alt: the text for readers who do not see it.
    """
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return f'<img alt="{escape(alt)}" src="data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}">'


def figure(images: Iterable[str], caption: Sequence[str], warning: str = "") -> str:
    """Return images of `inline_image` side by side, with a caption.

    Args:
        images: HTML of the images.
        caption: its lines, at least one.
        warning: shown in red behind the first line; empty: nothing.
    """
    first, *others = map(escape, caption)
    if warning:
        first += f' <span class="bad">{escape(warning)}</span>'
    lines = "<br>".join([first, *others])
    return f'<figure><div class="row">{"".join(images)}</div><figcaption>{lines}</figcaption></figure>'


def gallery(parts: Iterable[str], *, small: bool = False) -> str:
    """Return figures in a grid that fits the width of the screen; ``small``: twice as many side by side."""
    return f'<div class="gallery{" small" if small else ""}">{"".join(parts)}</div>'
