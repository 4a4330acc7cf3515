"""A real Chromium without a window."""

import base64
import shutil
from contextlib import contextmanager

import cv2
import numpy as np

from support.needs import skip_or_fail

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_TELL_OF_POLICY = (
    "addEventListener('securitypolicyviolation', e => console.error('CSP ' + e.violatedDirective + e.blockedURI))"
)
_PICTURE = """() => {
  const picture = document.getElementById("picture");
  const canvas = new OffscreenCanvas(picture.naturalWidth || 1, picture.naturalHeight || 1);
  const pen = canvas.getContext("2d");
  pen.drawImage(picture, 0, 0);
  const pixels = pen.getImageData(0, 0, canvas.width, canvas.height).data;
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
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def visitor(browser, url, *, complaints=(), **options):
    """Open an address in a session of its own; afterwards nothing must have been complained of but ``complaints``."""
    context = browser.new_context(**options)
    page = context.new_page()
    troubles, hosts = [], set()
    page.add_init_script(_TELL_OF_POLICY)
    page.on("console", lambda message: troubles.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    page.goto(url, wait_until="domcontentloaded")
    yield page
    unexpected = [trouble for trouble in troubles if not any(known in trouble for known in complaints)]
    context.close()
    assert not unexpected
    assert hosts == {url.split("/")[2]}


def picture(page):
    """Return what the page shows of the camera: uint8 (H, W, 3) BGR."""
    width, height, pixels = page.evaluate(_PICTURE)
    rgba = np.frombuffer(base64.b64decode(pixels), np.uint8).reshape(height, width, 4)
    return cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGR)
