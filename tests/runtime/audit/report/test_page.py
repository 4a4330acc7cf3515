"""The page in a real Chromium: without scripts and network, in dark and light, on a phone."""

import cv2
import numpy as np
import pytest

import camrt
from support.chromium import chromium
from support.shortcut_models import write_colour_model, write_images

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Write a report with everything: findings, groups, a baseline, a long name, a broken image."""
    folder = tmp_path_factory.mktemp("report")
    model = camrt.load(write_colour_model(folder / "model.onnx", mark=True), provider="cpu", threads=1)
    data = write_images(folder / "data", marked=0.8, per_class=20)
    for number, path in enumerate(sorted(data.rglob("*.png"))):
        (path.parent / f"camera-{number % 2}").mkdir(exist_ok=True)
        path.rename(path.parent / f"camera-{number % 2}" / f"{'very-long-name-' * 6}{path.name}")
    (data / "boat" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    camrt.audit(model, data, passes=0).write_report(folder / "before")
    audit = camrt.audit(model, data, group_by="folder", baseline=folder / "before")
    assert audit.findings
    return audit.write_report(folder / "after")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_needs_no_script_and_no_network_and_fits(report, scheme, width):
    requests = []
    with chromium() as browser:
        context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, java_script_enabled=False, offline=True
        )
        page = context.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.goto(report.as_uri())
        # A page that is too wide is wider on a picture of all of it.
        picture = cv2.imdecode(np.frombuffer(page.screenshot(full_page=True), np.uint8), cv2.IMREAD_COLOR)
        assert page.locator("h2").all_inner_texts()[:4] == ["Findings", "Baseline", "Groups by folder", "Classes"]
        assert page.locator(".verdict").bounding_box()["y"] < 200
        assert page.locator(".card h3").first.bounding_box()["y"] < 800
        boxes = [one.bounding_box() for one in page.locator("img, h1, h2, h3, p, dd, li, pre, .wide").all()]
        context.close()
    assert [url for url in requests if not url.startswith("data:")] == [report.as_uri()]
    assert picture.shape[1] == width
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes if box is not None)
    corner = picture[2:10, 2:10].mean()
    assert corner < 40 if scheme == "dark" else corner > 230
