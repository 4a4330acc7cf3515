"""How long a frame takes from the camera to the eye: glass to glass, but for the two glasses.

    python -m camrt.benchmarks.endurance.browser_latency [--seconds S] [--json]

A camera is made up whose frames carry their number as a bar code of black and white blocks. They go the whole way:
model, overlay, JPEG, HTTP, a real Chromium without a window, which reads the number back from the picture on its page
each time that it draws. What is measured is the time from a frame's making to that; what a sensor and a screen take is
not in it.
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
from camrt.runtime.sources import synthetic
from camrt.runtime.stream.live import LiveSession

_WARM_UP_S: Final = 3.0
_BITS: Final = 16
_BLOCK: Final = 32  # pixels: JPEG blurs what is much smaller
# The overlay colours the blocks too; with so little of it black stays darker than white.
_SETTINGS: Final = DisplaySettings(alpha=0.3)

_READ = """
async ([bits, block, ms]) => {
  const picture = document.getElementById("picture");
  const canvas = new OffscreenCanvas(bits * block, block);
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const seen = [];
  let last = -1;
  const end = performance.now() + ms;
  while (performance.now() < end) {
    await new Promise(requestAnimationFrame);
    if (!picture.naturalWidth) continue;
    pen.drawImage(picture, 0, 0);
    const pixels = pen.getImageData(0, 0, bits * block, block).data;
    let number = 0;
    for (let bit = 0; bit < bits; bit++) {
      const at = 4 * ((block / 2) * bits * block + bit * block + block / 2);
      number = 2 * number + (pixels[at] + pixels[at + 1] + pixels[at + 2] > 383);
    }
    if (number !== last) seen.push([number, Date.now()]);
    last = number;
  }
  return seen;
}
"""


class NumberedCamera:
    """The synthetic camera with each frame's number on it, most significant bit first, from the upper left."""

    def __init__(self, views: int = 90) -> None:
        self._scene = synthetic.SyntheticSource(synthetic.Scene(seed=0))
        self._ahead = [
            synthetic.Scene(seed=0).view(index).image for index in range(views)
        ]  # drawing would add to the delay
        self.name = "numbered"
        self.live = True
        self.fps: float | None = synthetic.FPS
        self.frame_count: int | None = None
        self.problems: list[str] = []
        self.made_ms: dict[int, float] = {}
        """When each frame was made, milliseconds since the epoch, by its number modulo 65536."""
        self._number = 0
        self._closed = threading.Event()
        self._first_s: float | None = None

    def read(self) -> Frame | None:
        """Return the next frame at its time."""
        now = time.perf_counter()
        self._first_s = now if self._first_s is None else self._first_s
        self._number = max(self._number + 1, int((now - self._first_s) * synthetic.FPS))
        if self._closed.wait(max(0.0, self._first_s + self._number / synthetic.FPS - now)):
            return None
        image = self._ahead[self._number % len(self._ahead)].copy()
        number = self._number % 2**_BITS
        stamp(image, number)
        self.made_ms[number] = 1e3 * time.time()
        return Frame(image, self._number, time.time(), self.name)

    def close(self) -> None:
        """End a read that waits."""
        self._closed.set()


def stamp(image: Image, number: int) -> None:
    """Draw a number of 16 bits into the upper left of ``image``, 512x32 pixels of it."""
    bits = np.array([number >> bit & 1 for bit in reversed(range(_BITS))], np.uint8)
    image[:_BLOCK, : _BITS * _BLOCK] = (255 * bits).repeat(_BLOCK)[np.newaxis, :, np.newaxis]


def measure(seconds: float) -> dict[str, Any]:
    """Run camera, model, server and browser.

    Args:
        seconds: how long pictures are read, after a warm-up.

    Returns: ``frames`` that were read in the browser; ``fps``; ``median_ms`` and ``p95_ms`` from a frame's making to
    its being read; ``misread``, pictures whose number was never made.

    Raises:
        MissingExtra: playwright is not installed.
        CamrtError: there is no Chromium, or no picture came.
    """
    from camrt.runtime.serve import Server
    from camrt.runtime.serve.server import Address

    camera = NumberedCamera()
    session = LiveSession(camrt.load(DEMO_MODEL), [camera], settings=_SETTINGS, watched=True)
    server = Server(session.hub, Address("127.0.0.1", 0))
    thread = threading.Thread(target=session.run)
    thread.start()
    try:
        seen = _watch(server.url, seconds)
    finally:
        session.stop()
        thread.join()
        server.stop()
    delays = [at - camera.made_ms[number] for number, at in seen if number in camera.made_ms]
    if len(delays) < 2:
        raise CamrtError(f"{len(delays)} pictures were read within {seconds:g} s; is the machine that busy?")
    return {
        "frames": len(delays),
        "fps": 1e3 * (len(seen) - 1) / (seen[-1][1] - seen[0][1]),
        "median_ms": statistics.median(delays),
        "p95_ms": float(np.percentile(delays, 95)),
        "misread": len(seen) - len(delays),
    }


def _watch(url: str, seconds: float) -> list[tuple[int, float]]:
    """Return (number, when it was read in milliseconds since the epoch) of each new picture."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise MissingExtra(f"the delay is measured with playwright ({error}): pip install 'camrt[test]'") from error
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise CamrtError("the delay is measured in Chromium, which is not installed")
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
    parser = argparse.ArgumentParser(description="time from a frame to its picture in a browser")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long pictures are read (default 20)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    found = measure(args.seconds)
    if args.json:
        print(json.dumps(found))
    else:
        print(
            f"{found['median_ms']:.0f} ms median, {found['p95_ms']:.0f} ms at most for 95 of 100, "
            f"{found['fps']:.1f} fps over {found['frames']} frames, {found['misread']} misread"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
