"""Draw the images of the documents: a real model beside the demo, the demo in a browser, the report of an audit.

    python docs/draw_images.py

The photo is `chelsea` of scikit-image (CC0). The model is torchvision's MobileNetV2 as found in the test data. The
audit is of a small network that was trained on photos of ants and bees, 80 % of the bees with a mark in a corner.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from skimage import data

import camrt
from camrt import export
from camrt.images import Image
from camrt.runtime.assets import DEMO_MODEL
from camrt.runtime.frames import Frame, StreamItem
from camrt.runtime.render.display_settings import DisplaySettings
from camrt.runtime.render.renderer import Renderer
from camrt.runtime.stream.rate import RateMeter
from camrt.synthetic_scene import Scene

HERE = Path(__file__).resolve().parent
TEST_DATA = Path(os.environ.get("CAMRT_TEST_DATA", HERE.parent.parent / "shared" / "data"))
HEIGHT = 432
SCENE_FRAME = 200


def overlay(model: Path, image: Image) -> Image:
    """Draw a frame as ``camrt live`` does, with the frame rate of 30 repetitions."""
    loaded = camrt.load(model)
    renderer = Renderer(hud=True, provider=loaded.provider, threads=loaded.threads)
    rate = RateMeter()
    for index in range(30):
        result = loaded(image)
        rate.count()
        frame = Frame(image, index, index / 30, model.stem)
        item = StreamItem(frame, result, index, fps=rate.rate(), stages_ms=result.stages_ms)
        rendered = renderer.render(item, DisplaySettings()).image.copy()
    renderer.close()
    return rendered


def browser_view(target: Path) -> None:
    """Take a screenshot of the page of ``camrt live --serve``: the synthetic camera with two maps side by side."""
    from playwright.sync_api import sync_playwright

    command = [sys.executable, "-m", "camrt.cli", "live", str(DEMO_MODEL), "--source", "synthetic", "--serve", "0"]
    with (
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as live,
        sync_playwright() as player,
        player.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"]) as browser,
    ):
        assert live.stderr is not None
        url = next(line.split()[-1] for line in live.stderr if line.startswith("watch at "))
        page = browser.new_page(viewport={"width": 1280, "height": 790})
        page.goto(url, wait_until="domcontentloaded")
        page.wait_for_timeout(20_000)  # so that the chart has a line
        page.locator("#captions", has_text="heart 1.00").wait_for()
        page.locator("#top button").nth(0).click()
        page.locator("#top button").nth(1).click()
        page.mouse.move(0, 0)  # away from the buttons, which the pointer would highlight
        page.wait_for_timeout(300)
        page.screenshot(path=target)
        live.terminate()


def report_view(target: Path) -> None:
    """Take a screenshot of the first screen of a report, after training and audit of a model with a shortcut."""
    from playwright.sync_api import sync_playwright

    from camrt.benchmarks.planted_bias.cases import Case, run
    from camrt.benchmarks.planted_bias.images import read

    case = Case("hymenoptera", "scratch", "mark in a corner", 0.8)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(case, read(case.data, TEST_DATA, case.seed), folder)
        model = camrt.load(folder / case.name / "model.onnx", provider="cpu")
        page_file = camrt.audit(model, folder / case.name / "images").write_report(folder / "report")
        with (
            sync_playwright() as player,
            player.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"]) as browser,
        ):
            page = browser.new_page(viewport={"width": 1100, "height": 1000})
            page.goto(page_file.as_uri())
            page.screenshot(path=target)


def main() -> None:
    """Write docs/images/overlay.png, browser.png and audit.png."""
    classifier = TEST_DATA / "models" / "mobilenetv2_torchvision_qdq_int8.onnx"
    labels = TEST_DATA / "labels" / json.loads(classifier.with_suffix(".json").read_text())["labels"]
    photo = cv2.cvtColor(data.chelsea(), cv2.COLOR_RGB2BGR)
    photo = cv2.resize(photo, (round(photo.shape[1] * HEIGHT / photo.shape[0]), HEIGHT), interpolation=cv2.INTER_CUBIC)
    scene = Scene(seed=0, width=HEIGHT * 4 // 3, height=HEIGHT).view(SCENE_FRAME).image
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "mobilenetv2.onnx"
        export.attach(classifier, model, labels=labels)
        cat = overlay(model, np.asarray(photo, np.uint8))
    demo = overlay(DEMO_MODEL, scene)
    gap = np.full((HEIGHT, 8, 3), 255, np.uint8)
    target = HERE / "images" / "overlay.png"
    target.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(target), np.hstack([cat, gap, demo]), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    print(f"wrote {target}")
    browser_view(target.with_name("browser.png"))
    print(f"wrote {target.with_name('browser.png')}")
    report_view(target.with_name("audit.png"))
    print(f"wrote {target.with_name('audit.png')}")


if __name__ == "__main__":
    main()
