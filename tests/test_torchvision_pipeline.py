"""Frames become the network's input as in torchvision's pipelines: the same pixels, and the same classes of photos."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image

import camrt
from camrt.benchmarks.compare.torch_libraries import transforms
from camrt.export import attach
from camrt.geometry import fit
from camrt.images import read_image
from camrt.model_file import InputGeometry

SIZES = [(640, 480), (480, 640), (1920, 1080), (1277, 853), (333, 500), (256, 256), (150, 100), (97, 1211), (300, 224)]


@pytest.mark.input_kind(
    "preprocessing",
    "frames of any size, shorter side scaled and centre cropped",
    "torchvision, Resize and CenterCrop",
    "equal within 1 grey level",
)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shorter_side", [None, 224, 232, 235, 256])
def test_a_crop_equals_resize_and_centre_crop(size, shorter_side):
    frame = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    out = np.empty((224, 224, 3), np.uint8)
    fit(frame, InputGeometry(width=224, height=224, resize="crop", shorter_side=shorter_side), out)
    pipeline = transforms.Compose([transforms.Resize(shorter_side or 224), transforms.CenterCrop(224)])
    assert np.abs(out.astype(int) - np.asarray(pipeline(Image.fromarray(frame)))).max() <= 1


@pytest.fixture(scope="module")
def photos(shared_data):
    """Return photos, uint8 (H, W, 3) BGR: as they are, and some enlarged to 3000 pixels with the noise of a sensor."""
    files = sorted(file for name in ("images_boxes", "images_cls") for file in (shared_data / name).glob("*.[jJ]*G"))
    images = [read_image(file) for file in [*files, *(shared_data / "images_boxes").glob("*.jpg")]]
    random = np.random.default_rng(0)
    for image in images[::4]:
        scale = 3000 / max(image.shape)
        large = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        noise = random.standard_normal(large.shape, np.float32) * 25
        images.append(np.clip(large + noise, 0, 255).astype(np.uint8))
    return images


@pytest.mark.input_kind(
    "preprocessing",
    "photos up to 3000 pixels, with noise",
    "torchvision, Resize and CenterCrop",
    "top-1 equal on 98 %",
)
@pytest.mark.parametrize(
    "resize", [{"resize": "stretch"}, {"resize": "crop", "shorter_side": 256}], ids=["stretch", "crop"]
)
def test_photos_get_the_class_of_the_training_pipeline(resize, photos, shared_data, tmp_path):
    """One grey level can swap two classes of almost equal score, more often in 8-bit integers than in float32."""
    name = "squeezenet11_caffe"
    note = json.loads((shared_data / "models" / f"{name}.json").read_text())
    pixels, side = note["preprocessing"], note["input"]["width"]
    file = tmp_path / "model.onnx"
    attach(
        shared_data / "models" / note["file"],
        file,
        scale={"0-1": 1 / 255, "0-255": 1.0}[pixels["range"]],
        mean=pixels["mean"],
        std=pixels["std"],
        channels=pixels["channel_order"].lower(),
        **resize,
    )
    model = camrt.load(file, provider="cpu")
    trained = camrt.load(file, provider="cpu", geometry=InputGeometry(width=side, height=side))
    steps = [transforms.Resize((side, side))]
    if resize["resize"] == "crop":
        steps = [transforms.Resize(256), transforms.CenterCrop(side)]
    pipeline = transforms.Compose(steps)
    equal = 0
    for photo in photos:
        prepared = np.asarray(pipeline(Image.fromarray(photo[..., ::-1])))[..., ::-1]
        equal += model(photo).top(1)[0][0] == trained(np.ascontiguousarray(prepared)).top(1)[0][0]
    assert equal >= 0.98 * len(photos)
