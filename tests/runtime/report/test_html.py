"""A report page is valid HTML in one file, and text in it is text."""

import base64
import re

import cv2
import numpy as np

from camrt.runtime.report import html
from support.html_elements import Elements
from support.overlays import gradient_image

HOSTILE = "<script>alert('x')</script> & \"quoted\""


def test_text_is_escaped_everywhere():
    image = html.inline_image(gradient_image(), HOSTILE)
    figure = html.figure([image, image], [HOSTILE, HOSTILE], warning=HOSTILE)
    parts = [html.section(HOSTILE), html.paragraph(HOSTILE), html.table([HOSTILE], [[HOSTILE]]), html.gallery([figure])]
    parts += [html.link(HOSTILE, HOSTILE), html.verdict(HOSTILE, "open"), html.warning(HOSTILE), html.code(HOSTILE)]
    parts += [html.listing([HOSTILE]), html.definitions([(HOSTILE, HOSTILE)]), html.section(HOSTILE, HOSTILE)]
    page = Elements(html.document(HOSTILE, HOSTILE, parts))
    assert "script" not in page.names
    assert page.text.count(HOSTILE) == 16
    assert page.names.count("img") == 2


def test_an_inline_image_has_the_pixels_of_the_image():
    pixels = gradient_image(32, 48)
    (data,) = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', html.inline_image(pixels, "a"))
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert decoded.shape == pixels.shape
    assert np.abs(decoded.astype(int) - pixels).mean() < 5


def test_a_table_without_a_header_begins_with_its_first_row():
    assert html.table((), [("a", "b")]) == '<div class="wide"><table><tr><td>a</td><td>b</td></tr></table></div>'
