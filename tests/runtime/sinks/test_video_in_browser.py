"""Chromium plays finished and unfinished PyAV videos in the right colours."""

import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from camrt.runtime.sinks import VideoSink
from support.needs import skip_or_fail
from support.overlays import gradient_image, rendered

pytestmark = pytest.mark.browser

CHROMIUM = Path("/usr/bin/chromium")
PLAY = """async name => {
  const video = document.createElement('video');
  video.muted = true;
  video.playbackRate = 8;
  const end = new Promise((done, failed) => {
    video.onended = done;
    video.onerror = () => failed(new Error(video.error.message));
  });
  video.src = name;
  await video.play();
  await end;
  const canvas = document.createElement('canvas');
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  const context = canvas.getContext('2d');
  context.drawImage(video, 0, 0);
  return [video.duration, canvas.width, canvas.height, [...context.getImageData(160, 120, 1, 1).data]];
}"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def page(tmp_path):
    """An empty page from a server that serves the folder."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        skip_or_fail("playwright is not installed")
    if not CHROMIUM.exists():
        skip_or_fail(f"there is no {CHROMIUM}")
    (tmp_path / "empty.html").write_text("<!doctype html><title>empty</title>")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
            page = browser.new_page()
            page.goto(f"http://127.0.0.1:{server.server_port}/empty.html")
            yield page
            browser.close()
        server.shutdown()


@pytest.mark.parametrize("suffix", [".mp4", ".m4v", ".mov"])
def test_a_browser_plays_finished_and_killed_videos(tmp_path, page, suffix):
    image = gradient_image(240, 320, shade=200)
    sink = VideoSink(tmp_path / f"seen{suffix}", fps=25)
    for index in range(50):
        sink.write(rendered(index, image=image))
    shutil.copy(tmp_path / f"seen.part{suffix}", tmp_path / "killed.mp4")
    sink.close()
    for name, least_s in ((f"seen{suffix}", 2.0), ("killed.mp4", 1.4)):
        duration_s, width, height, color = page.evaluate(PLAY, name)
        assert (width, height) == (320, 240)
        assert least_s <= duration_s <= 2.0
        assert np.abs(np.array(color[:3]) - image[120, 160, ::-1]).max() <= 3
