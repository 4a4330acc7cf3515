"""Parts of a report page: document, table, inline image, figure. The page is one file that loads nothing.

Each function returns HTML. It escapes its arguments, except ``parts`` and ``images``, which are HTML of this
module.
"""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

import cv2

from camrt.images import Image

_JPEG_QUALITY: Final = 85

_STYLE: Final = """
:root { color-scheme: light dark; --back: #fff; --text: #1a1d21; --soft: #667; --line: #dde; --bad: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --back: #14171a; --text: #e6e8ea; --soft: #9aa3ad; --line: #30363d; --bad: #ff8a80; }
}
body { background: var(--back); color: var(--text); font: 16px/1.5 system-ui, sans-serif; margin: 0 auto;
  max-width: 64rem; padding: 1rem; }
h1 { font-size: 1.4rem; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .8rem .3rem 0; text-align: left; }
.gallery { display: grid; gap: 1.2rem; grid-template-columns: repeat(auto-fill, minmax(min(19rem, 100%), 1fr)); }
figure { margin: 0; } .row { display: grid; gap: 4px; grid-auto-columns: 1fr; grid-auto-flow: column; }
img { display: block; width: 100%; } figcaption { color: var(--soft); font-size: .85rem; overflow-wrap: anywhere; }
.bad { color: var(--bad); }
"""


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


def section(heading: str) -> str:
    """Return the heading of a section."""
    return f"<h2>{escape(heading)}</h2>"


def paragraph(text: str) -> str:
    """Return a paragraph."""
    return f"<p>{escape(text)}</p>"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; without a header it begins with the first row. It scrolls sideways on a narrow screen."""
    head = f"<tr>{''.join(f'<th>{escape(cell)}</th>' for cell in header)}</tr>" if header else ""
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
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


def gallery(parts: Iterable[str]) -> str:
    """Return figures in a grid that fits the width of the screen."""
    return f'<div class="gallery">{"".join(parts)}</div>'
