"""Measure the latency from a camera's frame to its image in a browser.

    python -m camrt.benchmarks.endurance.browser_latency [--seconds S] [--json]

A synthetic camera draws the number of each frame into it, as a bar code of black and white blocks. The frames pass the
model, the overlay, JPEG and HTTP. A real Chromium without a window reads the number back from its page each time it
draws. The latency is the time from the creation of a frame to that moment. It does not include a sensor or a screen.
"""

import argparse
import json
import shutil
import statistics
import threading
import time
from typing import Any, Final

import numpy as np

import camrt
from camrt.errors import CamrtError, MissingExtra
from camrt.images import Image
from camrt.runtime.assets import DEMO_MODEL
from camrt.runtime.frames import Frame
from camrt.runtime.render.display_settings import DisplaySettings
from camrt.runtime.stream.live_session import LiveSession
from camrt.synthetic_scene import FPS, Scene

_WARM_UP_S: Final = 3.0
_BITS: Final = 16
_BLOCK: Final = 32  # pixels; JPEG blurs much smaller blocks
# The overlay also covers the blocks. With a low opacity black stays darker than white.
_SETTINGS: Final = DisplaySettings(alpha=0.3)

_READ = """
async ([bits, block, ms]) => {
  const image = document.getElementById("image");
  const canvas = new OffscreenCanvas(bits * block, block);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const readings = [];
  let last = -1;
  const end = performance.now() + ms;
  while (performance.now() < end) {
    await new Promise(requestAnimationFrame);
    if (!image.naturalWidth) continue;
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, bits * block, block).data;
    let number = 0;
    for (let bit = 0; bit < bits; bit++) {
      const at = 4 * ((block / 2) * bits * block + bit * block + block / 2);
      number = 2 * number + (pixels[at] + pixels[at + 1] + pixels[at + 2] > 383);
    }
    if (number !== last) readings.push([number, Date.now()]);
    last = number;
  }
  return readings;
}
"""


class NumberedCamera:
    """The synthetic camera with the number of each frame in its upper left corner, most significant bit first."""

    def __init__(self, distinct_frames: int = 90) -> None:
        # Drawn in advance: drawing would add to the latency.
        self._images = [Scene(seed=0).view(index).image for index in range(distinct_frames)]
        self.name = "numbered"
        self.live = True
        self.fps: float | None = FPS
        self.frame_count: int | None = None
        self.problems: list[str] = []
        self.created_ms: dict[int, float] = {}
        """Creation time of each frame, in milliseconds since the epoch, by its number modulo 65536."""
        self._number = 0
        self._closed = threading.Event()
        self._first_s: float | None = None

    def read(self) -> Frame | None:
        """Wait until the next frame is due, and return it; None after `close`."""
        now = time.perf_counter()
        self._first_s = now if self._first_s is None else self._first_s
        self._number = max(self._number + 1, int((now - self._first_s) * FPS))
        if self._closed.wait(max(0.0, self._first_s + self._number / FPS - now)):
            return None
        image = self._images[self._number % len(self._images)].copy()
        number = self._number % 2**_BITS
        draw_number(image, number)
        self.created_ms[number] = 1e3 * time.time()
        return Frame(image, self._number, time.time(), self.name)

    def close(self) -> None:
        """End a waiting read."""
        self._closed.set()


def draw_number(image: Image, number: int) -> None:
    """Draw a number of 16 bits into the upper left 512x32 pixels of ``image``, uint8 (H, W, 3), in place."""
    bits = np.array([number >> bit & 1 for bit in reversed(range(_BITS))], np.uint8)
    image[:_BLOCK, : _BITS * _BLOCK] = (255 * bits).repeat(_BLOCK)[np.newaxis, :, np.newaxis]


def measure(seconds: float) -> dict[str, Any]:
    """Run camera, model, server and browser.

    Args:
        seconds: duration of the measurement after a warm-up.

    Returns: ``frames``, the number of frames read in the browser; ``fps``; ``median_ms`` and ``p95_ms``, the latency
    from the creation of a frame to its reading; ``misread``, the number of images with a number that no frame had.

    Raises:
        MissingExtra: playwright is not installed.
        CamrtError: Chromium is not installed, or too few images arrived.
    """
    from camrt.runtime.serve import Server
    from camrt.runtime.serve.server import Address

    camera = NumberedCamera()
    session = LiveSession(camrt.load(DEMO_MODEL), [camera], settings=_SETTINGS, watched=True)
    server = Server(session.hub, Address("127.0.0.1", 0))
    thread = threading.Thread(target=session.run)
    thread.start()
    try:
        readings = _read_numbers(server.url, seconds)
    finally:
        session.stop()
        thread.join()
        server.stop()
    created_ms = camera.created_ms
    latencies_ms = [read_ms - created_ms[number] for number, read_ms in readings if number in created_ms]
    if len(latencies_ms) < 2:
        raise CamrtError(f"only {len(latencies_ms)} images arrived within {seconds:g} s; the machine may be too busy")
    return {
        "frames": len(latencies_ms),
        "fps": 1e3 * (len(readings) - 1) / (readings[-1][1] - readings[0][1]),
        "median_ms": statistics.median(latencies_ms),
        "p95_ms": float(np.percentile(latencies_ms, 95)),
        "misread": len(readings) - len(latencies_ms),
    }


def _read_numbers(url: str, seconds: float) -> list[tuple[int, float]]:
    """Return (number, time of reading in milliseconds since the epoch) of each new image."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise MissingExtra(f"the measurement needs playwright ({error}): pip install 'camrt[test]'") from error
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise CamrtError("the measurement needs Chromium, which is not installed")
    with (
        sync_playwright() as player,
        player.chromium.launch(executable_path=chromium, args=["--no-sandbox"]) as browser,
    ):
        page = browser.new_page()
        page.goto(url, wait_until="domcontentloaded")
        page.evaluate(_READ, [_BITS, _BLOCK, 1e3 * _WARM_UP_S])
        return [(int(number), float(at)) for number, at in page.evaluate(_READ, [_BITS, _BLOCK, 1e3 * seconds])]


def main() -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(description="measure the latency from a frame to its image in a browser")
    parser.add_argument("--seconds", type=float, default=20.0, help="duration of the measurement (default 20)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    result = measure(args.seconds)
    if args.json:
        print(json.dumps(result))
    else:
        print(
            f"latency {result['median_ms']:.0f} ms (median), {result['p95_ms']:.0f} ms (95th percentile), "
            f"{result['fps']:.1f} fps over {result['frames']} frames, {result['misread']} misread"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
