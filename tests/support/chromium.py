"""Chromium without a window, and pages in it."""

import base64
import shutil
from contextlib import contextmanager

import cv2
import numpy as np

from support.desktop import eventually
from support.needs import skip_or_fail

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_REPORT_POLICY_VIOLATIONS = (
    "addEventListener('securitypolicyviolation', e => console.error('CSP ' + e.violatedDirective + e.blockedURI))"
)
_READ_IMAGE = """() => {
  const image = document.getElementById("image");
  const canvas = new OffscreenCanvas(image.naturalWidth || 1, image.naturalHeight || 1);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  let text = "";
  for (let at = 0; at < pixels.length; at += 8192) text += String.fromCharCode(...pixels.subarray(at, at + 8192));
  return [canvas.width, canvas.height, btoa(text)];
}"""


@contextmanager
def chromium():
    """Start the browser."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        skip_or_fail("no playwright; pip install playwright")
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        skip_or_fail("no browser; install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def open_page(browser, url, *, expected_errors=(), **options):
    """Open an address in a session of its own.

    At the end the page must have logged no errors but ``expected_errors``, and used no server but that of ``url``.
    """
    context = browser.new_context(**options)
    page = context.new_page()
    errors, hosts = [], set()
    page.add_init_script(_REPORT_POLICY_VIOLATIONS)
    page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    page.goto(url, wait_until="domcontentloaded")
    yield page
    unexpected = [error for error in errors if not any(text in error for text in expected_errors)]
    context.close()
    assert not unexpected, unexpected
    assert hosts == {url.split("/")[2]}


def shown_image(page):
    """Return the image on the page: uint8 (H, W, 3) BGR."""
    width, height, pixels = page.evaluate(_READ_IMAGE)
    rgba = np.frombuffer(base64.b64decode(pixels), np.uint8).reshape(height, width, 4)
    return cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGR)


def shows(page, expected):
    """Wait until the page shows an image, apart from the losses of JPEG."""

    def is_shown():
        image = shown_image(page)
        return image.shape == expected.shape and np.abs(image.astype(int) - expected).mean() < 4

    return eventually(is_shown)
