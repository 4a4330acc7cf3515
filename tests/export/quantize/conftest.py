"""Fixtures of the tests of quantize."""

import cv2
import pytest


@pytest.fixture(scope="module")
def photos(shared_data, tmp_path_factory):
    """A folder of eighteen small photos."""
    folder = tmp_path_factory.mktemp("photos")
    for file in sorted((shared_data / "images_cls").glob("*.JPEG"))[:18]:
        cv2.imwrite(str(folder / f"{file.stem}.png"), cv2.resize(cv2.imread(str(file)), (64, 48)))
    return folder
